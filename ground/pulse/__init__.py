"""The files in the folder PULSE_FOLDER that the deployment of `./dev chaos` and the command share."""

#: A line for each finished task, each call of the receiver, each mail that was sent.
TASKS, CALLS, MAILS = "tasks", "calls", "mails"

#: The file that tells the sender of mails to end.
ENOUGH = "enough"
