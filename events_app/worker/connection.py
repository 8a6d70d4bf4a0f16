"""A broken connection to a Redis broker fails in the worker's main loop, so that Celery connects anew.

The main loop reads the connection for pub/sub, which carries remote control and gossip, with redis-py's
`PubSub.parse_response` (kombu/transport/redis.py, `Channel._receive_one`). If the broker's options have
`retry_on_timeout`, redis-py tries once more after any broken connection (redis/connection.py,
`AbstractConnection.__init__`): it connects again and repeats the read (redis/client.py, `PubSub._execute`).
kombu took the connection out of the pool without redis-py's `PubSub`
(`MultiChannelPoller._client_registered`), so nothing subscribes again: the new connection stays silent, the
read has no time limit since redis-py 8 (`try_read`), and the worker hangs with its process alive. kombu 5.7.0
has no option against it.

Without a retry the error reaches Celery, whose consumer then closes its connections and makes new ones.
A range of redis-py versions would not do: it would hold back the host project, and older versions wait as
well unless the broker's options have a `socket_timeout`. Nor would options without `retry_on_timeout`: a
host's options are its own, and the retry keeps a worker that publishes or acknowledges from losing a message.
"""

from typing import TYPE_CHECKING, Any

from celery import bootsteps
from celery.signals import worker_init
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from celery.worker.consumer import Consumer

_NO_RETRY = Retry(NoBackoff(), 0)


class NoHiddenReconnect(bootsteps.StartStopStep):
    """Takes redis-py's own retry from the connections that the main loop reads: BRPOP's and the pub/sub ones.

    The other connections of a channel, with which the worker publishes and acknowledges, keep it.
    """

    requires = ("celery.worker.consumer.control:Control", "celery.worker.consumer.gossip:Gossip")

    def __init__(self, consumer: "Consumer", **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer

    def start(self, consumer: "Consumer") -> None:
        # Enough for a pool without an event loop (gevent, eventlet).
        self._take_retries()

    def register_with_event_loop(self, consumer: "Consumer", hub: Any) -> None:
        """Celery calls this after each reconnect.

        Each turn of the loop looks again, for a channel may be made later: a remote command that fails makes
        one.
        """
        hub.on_tick.add(self._take_retries)

    def _take_retries(self) -> None:
        transport: Any = self._consumer.connection and self._consumer.connection.transport
        if not transport or transport.driver_type != "redis":  # rediss:// and sentinel:// say the same
            return
        for channel in transport.channels:
            pool = channel.async_pool
            if pool.connection_kwargs.get("retry") is not _NO_RETRY:
                pool.set_retry(_NO_RETRY)


def install() -> None:
    """Take the retries in each worker of this process, whichever Celery app it runs."""
    worker_init.connect(_add_step, dispatch_uid="events_app.worker.connection")


def _add_step(sender: Any, **_: Any) -> None:
    # The worker's consumer is not made yet.
    sender.app.steps["consumer"].add(NoHiddenReconnect)
