"""The options of flower: `celery -A workers.app flower --conf=workers/flowerconfig.py`.

Flower takes an option from its command line first, then from this file, then from the environment, such as
`FLOWER_BASIC_AUTH`.
"""

from typing import Any

from flower.utils.broker import RedisSentinel
from flower.views import BaseHandler
from tornado.options import options

from workers.app import QUEUES

# Without both, flower shows its pages to everybody.
if not (options.basic_auth or options.auth):
    raise SystemExit("Flower needs a password: set FLOWER_BASIC_AUTH=user:password in its environment.")

# No page changes anything: a leaked password stops no worker.
read_only = True

# By default flower makes every worker report every task. Workers with --task-events report theirs anyway.
enable_events = False

# The tasks that flower remembers, in its memory alone.
max_tasks = 10_000

# By default the page has no results, and those of our tasks count the mails by outcome.
tasks_columns = "name,state,result,received,runtime,worker,uuid"

# Seconds until the Workers page forgets a worker that went offline: each new container has a new name.
purge_offline_workers = 86_400

# By default the Broker page has only the queues of workers that flower has met. A queue without a worker is
# the one to look for.
_queues_with_workers = BaseHandler.get_active_queue_names
BaseHandler.get_active_queue_names = lambda handler: sorted({*QUEUES, *_queues_with_workers(handler)})

# Through Sentinel flower 2.2 reads database 0, whatever the URL says.
_client_of_database_0 = RedisSentinel._get_redis_client


def _client(broker: Any, *options: Any) -> Any:
    client = _client_of_database_0(broker, *options)
    client.connection_pool.connection_kwargs["db"] = broker.vhost
    return client


RedisSentinel._get_redis_client = _client
