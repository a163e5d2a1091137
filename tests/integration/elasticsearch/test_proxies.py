"""The proxies themselves, in front of a real node and with the client that the product uses."""

import contextlib
import http.client
import json
import ssl
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from elastic_transport import ConnectionError, SerializationError, TlsError
from elasticsearch import ApiError, AuthenticationException, Elasticsearch, helpers
from proxies import FAULTS, FaultyProxy, Proxy, TlsProxy

INDEX = f"test-proxies-{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def client(elasticsearch_url: str) -> Iterator[Elasticsearch]:
    with Elasticsearch(elasticsearch_url, request_timeout=60) as client:
        client.indices.create(index=INDEX, settings={"number_of_replicas": 0})
        for number in range(20):
            client.index(index=INDEX, id=str(number), document={"text": f"passage {number}"})
        client.indices.refresh(index=INDEX)
        yield client
        client.indices.delete(index=INDEX)


@pytest.fixture
def url(client: Elasticsearch, elasticsearch_url: str) -> str:
    return elasticsearch_url


def impatient(proxy: Proxy, **more: object) -> Elasticsearch:
    return Elasticsearch(proxy.url, max_retries=0, request_timeout=60, **more)


# -- TLS and logins ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls(client, elasticsearch_url, tmp_path_factory) -> Iterator[TlsProxy]:
    with TlsProxy(elasticsearch_url, tmp_path_factory.mktemp("tls"), basic_auth=("reader", "a password")) as proxy:
        yield proxy


def test_an_api_key_and_a_password_open_the_door(tls):
    for login in ({"api_key": tls.api_key}, {"basic_auth": tls.basic_auth}):
        with impatient(tls, ca_certs=str(tls.ca), **login) as client:
            assert client.count(index=INDEX)["count"] == 20


@pytest.mark.parametrize("login", [{}, {"api_key": "d3Jvbmc6a2V5"}, {"basic_auth": ("reader", "guessed")}])
def test_without_the_right_login_the_answer_is_401_in_elasticsearchs_words(tls, login):
    with impatient(tls, ca_certs=str(tls.ca), **login) as client, pytest.raises(AuthenticationException) as refused:
        client.count(index=INDEX)
    assert refused.value.error == "security_exception"
    assert refused.value.meta.headers["x-elastic-product"] == "Elasticsearch"


def test_a_client_that_does_not_know_the_authority_refuses_to_talk(tls):
    with impatient(tls, api_key=tls.api_key) as client, pytest.raises(TlsError):
        client.count(index=INDEX)


def test_the_certificate_passes_pythons_strict_verification(tls):
    context = ssl.create_default_context(cafile=tls.ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for host in ("127.0.0.1", "localhost"):
        connection = http.client.HTTPSConnection(host, urlsplit(tls.url).port, context=context, timeout=60)
        connection.request("GET", "/_cluster/health", headers={"Authorization": f"ApiKey {tls.api_key}"})
        assert connection.getresponse().status == http.HTTPStatus.OK
        connection.close()


# -- a bad network ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("429", ApiError),
        ("503", ApiError),
        ("cut before", ConnectionError),
        ("cut inside", ConnectionError),
        ("garbled", SerializationError),
        ("truncated", SerializationError),
    ],
)
def test_the_client_meets_each_fault_as_the_error_it_is(url, fault, error):
    with FaultyProxy(url, share=1, kinds=[fault]) as proxy, impatient(proxy) as client:
        with pytest.raises(error) as met:
            client.search(index=INDEX, size=20)
        if error is ApiError:
            assert str(met.value.status_code) == fault
    assert proxy.counts == {fault: 1}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_refused_request_is_not_carried_out_and_any_other_is(client, url, fault):
    problems = pytest.raises((ApiError, ConnectionError, SerializationError))
    with FaultyProxy(url, share=1, kinds=[fault]) as proxy, impatient(proxy) as through, problems:
        through.index(index=INDEX, id=fault, document={"text": "once"})
    stored = client.exists(index=INDEX, id=fault)
    assert bool(stored) is (fault not in {"429", "503"})
    if stored:
        client.delete(index=INDEX, id=fault, refresh=True)


def test_the_same_seed_gives_the_same_faults_and_about_the_share(url):
    def faults(seed: int) -> list[str]:
        met = []
        with FaultyProxy(url, share=0.3, seed=seed) as proxy:
            for _ in range(100):
                before = proxy.counts.copy()
                with contextlib.suppress(OSError, http.client.HTTPException):
                    ask(urlsplit(proxy.url).port, "GET", f"/{INDEX}/_doc/1")
                met += (proxy.counts - before).elements()
        return met

    first = faults(1)
    assert first == faults(1) != faults(2)
    assert 15 <= 100 - first.count("passed") <= 45
    assert set(first) == {"passed", *FAULTS}


def test_only_the_chosen_requests_meet_faults(url):
    searches = FaultyProxy(url, share=1, kinds=["503"], only=lambda method, path: "_search" in path)
    with searches as proxy, impatient(proxy) as client:
        assert client.count(index=INDEX)["count"] == 20
        with pytest.raises(ApiError):
            client.search(index=INDEX)
    assert proxy.counts == {"passed": 1, "503": 1}


def test_what_passes_is_untouched_whether_counted_or_chunked(url):
    direct = urlsplit(url).port
    lines = [f'{{"index": {{"_id": "c{n}"}}}}\n{{"text": "chunked"}}\n'.encode() for n in range(50)]
    with FaultyProxy(url, share=0) as proxy:
        port = urlsplit(proxy.url).port
        for path, header in ((f"/{INDEX}/_doc/1", "Content-Length"), ("/_mapping", "Transfer-Encoding")):
            status, headers, body = ask(direct, "GET", path)
            assert header in headers
            assert (status, body) == ask(port, "GET", path)[::2]
        status, _, answer = ask(port, "POST", f"/{INDEX}/_bulk?refresh=true", iter(lines))  # an iterator goes in chunks
        assert (status, json.loads(answer)["errors"]) == (200, False)
        status, headers, body = ask(port, "HEAD", f"/{INDEX}/_doc/c1")
        assert (status, headers["X-elastic-product"], body) == (200, "Elasticsearch", b"")
        gone = "".join(f'{{"delete": {{"_id": "c{n}"}}}}\n' for n in range(50)).encode()
        assert ask(port, "POST", f"/{INDEX}/_bulk?refresh=true", gone)[0] == 200
    assert set(proxy.counts) == {"passed"}


def test_a_target_that_is_gone_is_a_bad_gateway():
    with FaultyProxy("http://127.0.0.1:1", share=0) as proxy:
        assert ask(urlsplit(proxy.url).port, "GET", "/_cluster/health")[0] == http.HTTPStatus.BAD_GATEWAY


def test_a_client_that_retries_gets_everything_through(client, url):
    network = FaultyProxy(url, share=0.3, seed=5, kinds=["429", "503", "cut before", "cut inside"])
    with (
        network as proxy,
        Elasticsearch(proxy.url, retry_on_status=[429, 503], max_retries=20, request_timeout=60) as patient,
    ):
        actions = ({"_index": INDEX, "_id": f"r{n}", "text": "again"} for n in range(60))
        helpers.bulk(patient, actions, chunk_size=2)
        patient.indices.refresh(index=INDEX)
        assert patient.count(index=INDEX, query={"match": {"text": "again"}})["count"] == 60
    assert sum(proxy.counts[fault] for fault in FAULTS) > 5
    helpers.bulk(client, ({"_op_type": "delete", "_index": INDEX, "_id": f"r{n}"} for n in range(60)), refresh=True)


def ask(port, method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        headers = {"Content-Type": "application/x-ndjson"} if body else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()
