"""What keeps a run safe and its errors readable; imports nothing of the method.

In the order in which a training meets it: ``repairs`` of the platform, ``cli`` from the command
line to a config, ``config_checks`` of what it says, ``processes`` that train together, ``files``
that are read and written, ``trial`` of a few images, and ``hooks`` while it runs. The modules
beside these folders are what several of them use.
"""
