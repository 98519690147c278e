"""`degrade` as `nohup` and a shell's background jobs start it: SIGHUP and SIGINT are ignored."""

import signal

from degrade.cli import main

if __name__ == "__main__":
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    main()
