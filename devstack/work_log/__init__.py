"""Names of the files in which the deployment of `./dev chaos` records its work, in WORK_LOG_FOLDER."""

#: Each has a line for a finished task, a receiver call, a sent mail.
FINISHED_TASKS, RECEIVER_CALLS, SENT_MAILS = "tasks", "calls", "mails"

#: The file that stops the sender of mails.
STOP = "enough"
