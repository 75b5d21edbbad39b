"""What programs do with the Python `kubernetes` package, from one object to a leader election.

Run by `python.rs` with the path of a kubeconfig. Each function is one subject; a failed assertion ends the run.
"""

import base64
import json
import sys
import threading

import websocket
from kubernetes import client, config, dynamic, watch
from kubernetes.client.rest import ApiException
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

NAMESPACE = "python"


def named(name, **fields):
    return client.V1ObjectMeta(name=name, **fields)


def refused(code, reason, call, *arguments, **options):
    """Runs what must fail, and reads the Status that says why."""
    try:
        call(*arguments, **options)
    except ApiException as error:
        status = json.loads(error.body)
        assert (error.status, status["reason"]) == (code, reason), error.body
        return status
    raise AssertionError(f"expected {code} {reason}")


def objects(core):
    core.create_namespace(client.V1Namespace(metadata=named(NAMESPACE)))
    made = core.create_namespaced_config_map(
        NAMESPACE, client.V1ConfigMap(metadata=named("settings", labels={"a": "b"}), data={"k": "v"})
    )
    assert made.metadata.uid and made.metadata.resource_version
    refused(409, "AlreadyExists", core.create_namespaced_config_map, NAMESPACE, made_again("settings"))
    refused(404, "NotFound", core.read_namespaced_config_map, "absent", NAMESPACE)
    patched = core.patch_namespaced_config_map("settings", NAMESPACE, {"data": {"more": "1"}})
    assert patched.data == {"k": "v", "more": "1"}
    operations = [{"op": "remove", "path": "/data/k"}]
    patched = core.patch_namespaced_config_map("settings", NAMESPACE, operations)
    assert patched.data == {"more": "1"}
    refused(409, "Conflict", core.replace_namespaced_config_map, "settings", NAMESPACE, made)
    patched.data = {"whole": "new"}
    assert core.replace_namespaced_config_map("settings", NAMESPACE, patched).data == {"whole": "new"}
    secret = client.V1Secret(metadata=named("password"), string_data={"p": "tür"})
    stored = core.create_namespaced_secret(NAMESPACE, secret)
    assert base64.b64decode(stored.data["p"]).decode() == "tür" and stored.type == "Opaque"
    gone = core.delete_namespaced_secret("password", NAMESPACE)
    assert core.api_client.sanitize_for_serialization(gone)["status"] == "Success"


def made_again(name):
    return client.V1ConfigMap(metadata=named(name))


def pages(core):
    for number in range(7):
        core.create_namespaced_config_map(NAMESPACE, made_again(f"page-{number}"))
    names, token = [], None
    while True:
        page = core.list_namespaced_config_map(NAMESPACE, limit=3, _continue=token)
        names += [item.metadata.name for item in page.items]
        token = page.metadata._continue
        if not token:
            break
    wanted = [item.metadata.name for item in core.list_namespaced_config_map(NAMESPACE).items]
    assert names == wanted and len(names) >= 8, names
    chosen = core.list_namespaced_config_map(NAMESPACE, label_selector="a=b").items
    assert [item.metadata.name for item in chosen] == ["settings"]
    chosen = core.list_namespaced_config_map(NAMESPACE, field_selector="metadata.name=page-3").items
    assert [item.metadata.name for item in chosen] == ["page-3"]


def watching(core):
    start = core.list_namespaced_config_map(NAMESPACE).metadata.resource_version
    core.create_namespaced_config_map(NAMESPACE, made_again("seen"))
    core.patch_namespaced_config_map("seen", NAMESPACE, {"data": {"x": "y"}})
    core.delete_namespaced_config_map("seen", NAMESPACE)
    seen, watcher = [], watch.Watch()
    for event in watcher.stream(
        core.list_namespaced_config_map, NAMESPACE, resource_version=start, timeout_seconds=60
    ):
        seen.append((event["type"], event["object"].metadata.name))
        if len(seen) == 3:
            watcher.stop()
    assert seen == [("ADDED", "seen"), ("MODIFIED", "seen"), ("DELETED", "seen")], seen


def watching_over_websocket(core):
    settings = core.api_client.configuration
    path = f"/api/v1/namespaces/{NAMESPACE}/configmaps?watch=true&fieldSelector=metadata.name=told"
    connection = websocket.create_connection(
        settings.host.replace("https", "wss") + path,
        timeout=60,
        sslopt={
            "ca_certs": settings.ssl_ca_cert,
            "certfile": settings.cert_file,
            "keyfile": settings.key_file,
        },
    )
    core.create_namespaced_config_map(NAMESPACE, made_again("told"))
    core.delete_namespaced_config_map("told", NAMESPACE)
    events = [json.loads(connection.recv()) for _ in range(2)]
    connection.close()
    seen = [(event["type"], event["object"]["metadata"]["name"]) for event in events]
    assert seen == [("ADDED", "told"), ("DELETED", "told")], seen


def workloads(apps, batch, autoscaling):
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels={"app": "web"}),
        spec=client.V1PodSpec(containers=[client.V1Container(name="web", image="web:1")]),
    )
    spec = client.V1DeploymentSpec(
        replicas=2, selector=client.V1LabelSelector(match_labels={"app": "web"}), template=template
    )
    made = apps.create_namespaced_deployment(NAMESPACE, client.V1Deployment(metadata=named("web"), spec=spec))
    assert made.spec.strategy.rolling_update.max_surge == "25%"
    scale = apps.read_namespaced_deployment_scale("web", NAMESPACE)
    assert scale.spec.replicas == 2
    scale = apps.patch_namespaced_deployment_scale("web", NAMESPACE, {"spec": {"replicas": 5}})
    assert scale.spec.replicas == 5
    assert apps.read_namespaced_deployment("web", NAMESPACE).spec.replicas == 5
    bad = client.V1Deployment(
        metadata=named("bad"),
        spec=client.V1DeploymentSpec(
            selector=client.V1LabelSelector(match_labels={"app": "other"}), template=template
        ),
    )
    status = refused(422, "Invalid", apps.create_namespaced_deployment, NAMESPACE, bad)
    assert status["details"]["causes"][0]["field"] == "spec.template.metadata.labels"
    cron = client.V1CronJob(
        metadata=named("nightly"),
        spec=client.V1CronJobSpec(
            schedule="0 3 * * *",
            job_template=client.V1JobTemplateSpec(
                spec=client.V1JobSpec(
                    template=client.V1PodTemplateSpec(
                        spec=client.V1PodSpec(
                            restart_policy="Never",
                            containers=[client.V1Container(name="c", image="web:1")],
                        )
                    )
                )
            ),
        ),
    )
    assert batch.create_namespaced_cron_job(NAMESPACE, cron).spec.concurrency_policy == "Allow"
    target = client.V2CrossVersionObjectReference(api_version="apps/v1", kind="Deployment", name="web")
    scaler = client.V2HorizontalPodAutoscaler(
        metadata=named("web"),
        spec=client.V2HorizontalPodAutoscalerSpec(scale_target_ref=target, max_replicas=9),
    )
    made = autoscaling.create_namespaced_horizontal_pod_autoscaler(NAMESPACE, scaler)
    assert made.spec.min_replicas == 1


def who(api):
    attributes = client.V1ResourceAttributes(verb="create", resource="pods", namespace=NAMESPACE)
    review = client.V1SelfSubjectAccessReview(
        spec=client.V1SelfSubjectAccessReviewSpec(resource_attributes=attributes)
    )
    answer = client.AuthorizationV1Api(api).create_self_subject_access_review(review)
    assert answer.status.allowed
    me = client.AuthenticationV1Api(api).create_self_subject_review(client.V1SelfSubjectReview())
    assert "system:authenticated" in me.status.user_info.groups


def by_discovery(api):
    found = dynamic.DynamicClient(api)
    config_maps = found.resources.get(api_version="v1", kind="ConfigMap")
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "applied", "namespace": NAMESPACE},
        "data": {"owner": "one"},
    }
    applied = config_maps.server_side_apply(body=body, field_manager="one")
    assert applied.data.owner == "one"
    body["data"]["owner"] = "two"
    try:
        config_maps.server_side_apply(body=body, field_manager="two")
        raise AssertionError("a field of another manager was taken")
    except dynamic.exceptions.ConflictError as conflict:
        assert 'conflict with "one"' in conflict.summary(), conflict.summary()
    applied = config_maps.server_side_apply(body=body, field_manager="two", force_conflicts=True)
    managers = {entry.manager for entry in applied.metadata.managedFields}
    assert applied.data.owner == "two" and "two" in managers
    assert found.resources.get(kind="Deployment").group == "apps"


class Candidate:
    """One of those who want to lead; what it saw, and a way to make it stop."""

    def __init__(self, name):
        self.name, self.leads, self.stopped = name, threading.Event(), threading.Event()

    def run(self):
        lock = LeaseLock("controller", NAMESPACE, self.name)
        election = electionconfig.Config(
            lock,
            lease_duration=4,
            renew_deadline=3,
            retry_period=1,
            onstarted_leading=self.lead,
            onstopped_leading=self.stopped.set,
        )
        self.thread = threading.Thread(
            target=leaderelection.LeaderElection(election).run, daemon=True
        )
        self.thread.start()

    def lead(self):
        self.leads.set()


def elections(coordination):
    first, second = Candidate("first"), Candidate("second")
    first.run()
    assert first.leads.wait(60)
    second.run()
    lease = coordination.read_namespaced_lease("controller", NAMESPACE)
    assert lease.spec.holder_identity == "first" and not second.leads.is_set()
    # Someone takes the lease away, as after the first one's death: it stops, and somebody leads again.
    lease.spec.holder_identity, lease.spec.lease_transitions = "stranger", 7
    while True:
        try:
            coordination.replace_namespaced_lease("controller", NAMESPACE, lease)
            break
        except ApiException as error:
            assert error.status == 409, error.body
            lease.metadata = coordination.read_namespaced_lease("controller", NAMESPACE).metadata
    assert first.stopped.wait(60)
    assert second.leads.wait(60)
    lease = coordination.read_namespaced_lease("controller", NAMESPACE)
    assert lease.spec.holder_identity == "second", lease


def end(core):
    start = core.list_namespace().metadata.resource_version
    core.delete_namespace(NAMESPACE)
    watcher = watch.Watch()
    for event in watcher.stream(
        core.list_namespace,
        field_selector=f"metadata.name={NAMESPACE}",
        resource_version=start,
        timeout_seconds=60,
    ):
        if event["type"] == "DELETED":
            return
    raise AssertionError("the namespace is still there")


def main():
    config.load_kube_config(sys.argv[1])
    api = client.ApiClient()
    core = client.CoreV1Api(api)
    assert int(client.VersionApi(api).get_code().minor) >= 27
    objects(core)
    pages(core)
    watching(core)
    watching_over_websocket(core)
    workloads(client.AppsV1Api(api), client.BatchV1Api(api), client.AutoscalingV2Api(api))
    who(api)
    by_discovery(api)
    elections(client.CoordinationV1Api(api))
    end(core)


main()
