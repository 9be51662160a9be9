"""What a command does as a process: its children, signals, standard streams and service manager."""
