"""`python -m emonet_fast`: the command line."""

from .commands.main import main

main()
