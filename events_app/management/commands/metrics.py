"""`manage.py metrics`: prints the metrics once, or serves them on a port of their own."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from events_app.monitoring import exposition


class Command(BaseCommand):
    help = "Print the metrics for Prometheus once, or serve them with --port."

    # A broken deployment must not stop the command that shows it.
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=_port, help="serve the metrics over http on this port")
        parser.add_argument(
            "--address",
            default="127.0.0.1",
            help="with --port: the address to listen on, without a token (default: 127.0.0.1)",
        )

    def handle(self, *args: Any, port: int | None, address: str, **options: Any) -> None:
        try:
            if port is None:
                self.stdout.write(exposition.render()[0].decode(), ending="")
            else:
                self._serve(address, port)
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error

    def _serve(self, address: str, port: int) -> None:
        registry = exposition.registry()
        from prometheus_client import start_http_server  # noqa: PLC0415 (an extra)

        try:
            server, thread = start_http_server(port, address, registry)
        except OSError as error:
            reason = error.strerror or error
            raise CommandError(f"Cannot listen on {address}, port {port}: {reason}.") from error
        host = f"[{address}]" if ":" in address else address
        self.stdout.write(f"Metrics: http://{host}:{server.server_port}/metrics")
        self.stdout.flush()
        try:
            thread.join()
        except KeyboardInterrupt:
            server.shutdown()
        finally:
            server.server_close()


def _port(text: str) -> int:
    number = int(text) if text.isdecimal() else -1
    if not 0 <= number < 65536:
        raise ValueError
    return number
