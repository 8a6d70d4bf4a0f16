"""The files in the folder WORK_LOG_FOLDER that the deployment of `./dev chaos` and the command share."""

#: A line for each finished task, each call of the receiver, each mail that was sent.
FINISHED_TASKS, RECEIVER_CALLS, SENT_MAILS = "tasks", "calls", "mails"

#: The file that tells the sender of mails to end.
STOP = "enough"
