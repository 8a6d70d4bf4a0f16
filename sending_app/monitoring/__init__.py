"""The facts about mails and about the account at SendGrid."""
