"""``python -m eegfmri`` is the command line."""

from eegfmri.cli import main

if __name__ == "__main__":
    main()
