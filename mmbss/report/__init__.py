"""From finished runs to tables and one HTML page."""
