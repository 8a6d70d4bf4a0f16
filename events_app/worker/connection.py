"""A broken connection to a Redis broker fails in the worker's main loop, so that Celery connects anew.

The main loop reads the pub/sub connection for remote control and gossip with redis-py's
`PubSub.parse_response` (kombu/transport/redis.py, `Channel._receive_one`). If the broker's options have
`retry_on_timeout`, redis-py retries after a broken connection (redis/connection.py,
`AbstractConnection.__init__`): redis-py reconnects and repeats the read (redis/client.py, `PubSub._execute`).
kombu took the connection out of the pool without redis-py's `PubSub`
(`MultiChannelPoller._client_registered`), so nothing subscribes again: the new connection stays silent, the
read has no timeout since redis-py 8 (`try_read`), and the worker hangs with the process alive. kombu 5.7.0
has no option against the hang.

Without a retry the error reaches Celery, and Celery's consumer makes new connections. Two simpler ways fail.
Pinning redis-py would hold back the host project, and older versions wait as well unless the broker's options
have a `socket_timeout`. Removing `retry_on_timeout` would change the host's options, and a worker that
publishes or acknowledges would lose messages without the retry.
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
    """Disables redis-py's own retry on the connections of the main loop: for BRPOP and for pub/sub.

    The connections for publishing and acknowledging keep the retry.
    """

    requires = ("celery.worker.consumer.control:Control", "celery.worker.consumer.gossip:Gossip")

    def __init__(self, consumer: "Consumer", **options: Any) -> None:
        super().__init__(consumer, **options)
        self._consumer = consumer

    def start(self, consumer: "Consumer") -> None:
        # Enough for a pool without an event loop (gevent, eventlet).
        self._take_retries()

    def register_with_event_loop(self, consumer: "Consumer", hub: Any) -> None:
        """Celery calls this method after every reconnect.

        A channel may be made later, such as by a failing remote command. So every turn of the loop looks
        again.
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


def disable_hidden_reconnect() -> None:
    """Disable the retry in the workers of this process, in any Celery app."""

    def add_step(sender: Any, **_: Any) -> None:
        # Celery makes the worker's consumer later, with these steps.
        sender.app.steps["consumer"].add(NoHiddenReconnect)

    worker_init.connect(add_step, weak=False, dispatch_uid="events_app.worker.connection")
