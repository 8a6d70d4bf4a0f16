"""A user of Redis with few rights."""

from events_app.shared import redis


def url_without_commands(url: str, *commands: str) -> str:
    """Forbid the commands to a new user of the stream's Redis, and return the URL with this user."""
    redis.for_workers().acl_setuser(
        "events",
        enabled=True,
        passwords=["+a-password"],
        keys=["*"],
        channels=["*"],
        categories=["+@all"],
        commands=[f"-{command}" for command in commands],
    )
    return url.replace("//", "//events:a-password@")
