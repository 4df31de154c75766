"""From a folder of images to a shipped student: data, plan, configs, runs, choice, export."""
