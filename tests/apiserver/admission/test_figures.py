"""What /metrics tells about admission."""

from time import perf_counter

from tests.support.apiserver import running_api
from todoku.aio import metrics
from todoku.apiserver.admission.figures import Figures


def lines(figures):
    return metrics.text(figures.shown()).splitlines()


def test_a_verdict_counts_with_its_code():
    figures, began = Figures(), perf_counter()
    figures.answered("a.b", "admit", "CREATE", began=began, code=400, allowed=True)
    figures.answered("a.b", "admit", "CREATE", began=began, code=403, allowed=False)
    about = 'name="a.b",type="admit",operation="CREATE"'
    prefix = "apiserver_admission_webhook_"
    for line in (
        f'{prefix}request_total{{{about},code="200",rejected="false"}} 1',
        f'{prefix}request_total{{{about},code="403",rejected="true"}} 1',
        f'{prefix}rejection_count{{{about},error_type="no_error",rejection_code="403"}} 1',
        f'{prefix}admission_duration_seconds_count{{{about},rejected="true"}} 1',
    ):
        assert line in lines(figures)


def test_a_failure_lets_through_or_refuses():
    figures, began = Figures(), perf_counter()
    figures.failed("open", "validating", "UPDATE", began=began, fails_open=True)
    figures.failed("shut", "validating", "UPDATE", began=began, fails_open=False)
    found = lines(figures)
    prefix = "apiserver_admission_webhook_"
    assert f'{prefix}fail_open_count{{name="open",type="validating"}} 1' in found
    about = 'name="shut",type="validating",operation="UPDATE"'
    error = 'error_type="calling_webhook_error",rejection_code="0"'
    assert f"{prefix}rejection_count{{{about},{error}}} 1" in found


async def test_the_steps_of_a_write_and_its_webhooks_are_on_the_page():
    hook = {
        "name": "gone.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["*"], "resources": ["secrets"]}],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }  # fmt: skip
    async with running_api() as api:
        path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
        await api.request("POST", path, {"metadata": {"name": "gone"}, "webhooks": [hook]})
        core = "/api/v1/namespaces/default"
        await api.request("POST", f"{core}/configmaps", {"metadata": {"name": "a"}})
        code, _ = await api.request("POST", f"{core}/secrets", {"metadata": {"name": "a"}})
        assert code == 500
        _, page = await api.raw("GET", "/metrics")
    found = page.decode().splitlines()
    step = "apiserver_admission_step_admission_duration_seconds_count"
    assert f'{step}{{type="admit",operation="CREATE",rejected="false"}} 3' in found
    assert f'{step}{{type="validate",operation="CREATE",rejected="false"}} 2' in found
    assert f'{step}{{type="validate",operation="CREATE",rejected="true"}} 1' in found
    about = 'name="gone.example.com",type="validating",operation="CREATE"'
    error = 'error_type="calling_webhook_error",rejection_code="0"'
    assert f"apiserver_admission_webhook_rejection_count{{{about},{error}}} 1" in found
