"""Flower as a deployment has it: its pages in headless Chromium, and the queues of each kind of Redis."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
from celery import Celery
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from devstack import chromium
from devstack.stack import EVENT_QUEUES, QUEUES
from fake_sendgrid import responses
from tests.support.browser import errors, find, needs_browser
from tests.support.certificates import Authority
from tests.support.flows.databases import on_sqlite
from tests.support.flows.deployment import Deployment
from tests.support.flows.mail_deployment import MailDeployment
from tests.support.flows.sentinels import sentinels
from tests.support.tls_proxy import tls_proxy

pytestmark = on_sqlite


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    with chromium.running(tmp_path / "browser") as browser:
        yield browser


def start_flower(deployment: Deployment) -> str:
    """Start flower. Return its URL, with the password in it."""
    deployment.processes.append(deployment.stack.flower("admin", "password"))
    url = deployment.stack.flower_url
    assert requests.get(url, timeout=10).status_code == 401
    assert requests.get(f"{url}api/workers", timeout=10).status_code == 401
    return url.replace("//", "//admin:password@")


def fill_queue(broker: str, queue: str, messages: int) -> None:
    """Put messages into a queue that no worker serves."""
    with Celery(broker=broker, set_as_current=False) as sender:
        for _ in range(messages):
            sender.send_task("inbound.deliver", queue=queue, ignore_result=True)


@needs_browser
def test_flower_shows_queues_mail_tasks_and_workers(mail_deployment: MailDeployment, browser: Chrome) -> None:
    worker = mail_deployment.stack.worker(queues=EVENT_QUEUES)
    mail_deployment.processes.append(worker)
    mailer = mail_deployment.mailer()
    flower = start_flower(mail_deployment)

    # Each worker sends heartbeats, also one that does not report its tasks.
    browser.get(f"{flower}workers")
    find(browser, "#workers-table tr", "worker@", "Online")
    find(browser, "#workers-table tr", "mailer@", "Online")

    # No worker serves this queue, so flower cannot hear of it from one.
    fill_queue(mail_deployment.valkey.url(1), "sendgrid.inbound", 3)
    browser.get(f"{flower}broker")
    rows = [row.text.split() for row in browser.find_elements(By.CSS_SELECTOR, "#queue-table tbody tr")]
    lengths = {name: int(length) for name, length, *_ in rows}
    assert lengths.keys() == set(QUEUES)
    assert lengths["sendgrid.inbound"] == 3

    # A mail that SendGrid refuses is in the result of a task.
    mail_deployment.sendgrid.next(responses.error(400))
    mail_deployment.call("send_many", mails=[[f"reader{number}@example.com"] for number in range(3)])
    tasks = f"{flower}api/tasks?state=SUCCESS"
    mail_deployment.wait_until(lambda: "'failed': 1" in requests.get(tasks, timeout=10).text, "the result")
    browser.get(f"{flower}tasks?state=SUCCESS")
    find(browser, "#tasks-table tbody tr", "sending.deliver", "{'", "mailer@")
    names = {row.text.split()[0] for row in browser.find_elements(By.CSS_SELECTOR, "#tasks-table tbody tr")}
    assert "sending.tick" not in names
    search = browser.find_element(By.CSS_SELECTOR, "input[type=search]")
    search.clear()
    search.send_keys("result:failed")
    find(browser, "#tasks-table_info", "1 of 1 tasks")
    row = find(browser, "#tasks-table tbody tr", "'failed': 1")
    row.find_element(By.CSS_SELECTOR, "a[href*='task/']").click()
    task = find(browser, "#task-page", "sending.deliver", "'failed': 1").text
    assert "Arguments\n()" in task
    assert "@example.com" not in task

    # Celery's results in the database name the task and the worker as well.
    results = mail_deployment.query(
        "SELECT task_name, worker, task_args FROM django_celery_results_taskresult"
    )
    assert {(name, worker.partition("@")[0], args) for name, worker, args in results} == {
        ("sending.deliver", "mailer", '"()"')
    }

    mailer.kill()
    browser.get(f"{flower}workers")
    find(browser, "#workers-table tr", "mailer@", "Offline")
    find(browser, "#workers-table tr", "worker@", "Online")
    assert errors(browser) == []


def queue_lengths(flower: str) -> dict[str, int]:
    answer = requests.get(f"{flower}api/queues/length", timeout=10)
    return {queue["name"]: queue["messages"] for queue in answer.json()["active_queues"]}


EXPECTED = dict.fromkeys(QUEUES, 0) | {"sendgrid.inbound": 3}


def test_flower_reads_the_queues_through_tls(deployment: Deployment, tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    client = authority.issue("client")
    files = f"ssl_certfile={client.certificate}&ssl_keyfile={client.key}&ssl_ca_certs={authority.certificate}"
    fill_queue(deployment.valkey.url(1), "sendgrid.inbound", 3)
    with tls_proxy(
        deployment.valkey.port, authority.issue("127.0.0.1"), clients_of=authority.certificate
    ) as port:
        deployment.configure(CELERY_BROKER_URL=f"rediss://127.0.0.1:{port}/1?{files}")
        assert queue_lengths(start_flower(deployment)) == EXPECTED
        deployment.stop()  # first: the proxy ends without its connections


def test_flower_reads_the_queues_through_sentinels(deployment: Deployment, tmp_path: Path) -> None:
    with sentinels(tmp_path) as servers:
        password = quote("of the server: /@#", safe="")
        fill_queue(f"redis://:{password}@127.0.0.1:{servers.master.port}/1", "sendgrid.inbound", 3)
        deployment.configure(CELERY_BROKER_URL=servers.url(1))
        assert queue_lengths(start_flower(deployment)) == EXPECTED
