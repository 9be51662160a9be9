"""The process side of a command: child processes, signals, standard streams, memory and the service manager."""
