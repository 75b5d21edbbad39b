"""The life of an object over Kontiki's gRPC API: list, create, watch and resume, conflict, delete.

    python -m grpc_tools.protoc -I proto --python_out=OUT --grpc_python_out=OUT proto/kontiki/api/v1/object.proto
    PYTHONPATH=OUT python examples/grpc/python/objects.py 127.0.0.1:6443 CA_FILE TOKEN_FILE

Needs the packages grpcio, grpcio-tools and grpcio-status. What the calls mean stands in docs/grpc.md.
"""

import json
import sys

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from kontiki.api.v1 import object_pb2 as api
from kontiki.api.v1 import object_pb2_grpc

NAMESPACE = "default"
NAME = "grpc-python"
# Longest wait for an answer, in seconds; a watch has none.
DEADLINE = 30


def config_map(name=""):
    """Names a ConfigMap or, without a name, all of them in the namespace."""
    return api.ObjectRef(version="v1", resource="configmaps", namespace=NAMESPACE, name=name)


def body(value):
    """A ConfigMap as JSON."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"key": value}}


def connect(server, ca_file, token_file):
    with open(ca_file, "rb") as file:
        transport = grpc.ssl_channel_credentials(root_certificates=file.read())
    with open(token_file) as file:
        user = grpc.access_token_call_credentials(file.read().strip())
    channel = grpc.secure_channel(server, grpc.composite_channel_credentials(transport, user))
    return object_pb2_grpc.ObjectServiceStub(channel)


def names(objects):
    """All names of a collection, a page at a time."""
    token = ""
    while True:
        page = objects.List(api.ListRequest(ref=config_map(), page_size=10, page_token=token), timeout=DEADLINE)
        yield from (item.ref.name for item in page.objects)
        token = page.next_page_token
        if not token:
            return


def present(objects):
    """Follows the collection until all that is there was told; answers with the token that resumes after it."""
    watch = objects.Watch(api.WatchRequest(ref=config_map()))
    for event in watch:
        if event.type == api.WatchResponse.TYPE_INITIAL_END:
            watch.cancel()
            return event.resume_token
    raise AssertionError("the watch ended early")


def next_change(objects, resume_token):
    """The first event after a token: nothing in between is lost, whichever replica answers."""
    watch = objects.Watch(api.WatchRequest(ref=config_map(), resume_token=resume_token))
    for event in watch:
        if event.object.ref.name == NAME:
            watch.cancel()
            return event
    raise AssertionError("the watch ended early")


def refused(call, request):
    """Runs a call that has to fail; answers with its code and what a program can read of why."""
    try:
        call(request, timeout=DEADLINE)
    except grpc.RpcError as error:
        info = error_details_pb2.ErrorInfo()
        for detail in rpc_status.from_call(error).details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                detail.Unpack(info)
        return error.code(), info
    raise AssertionError("the call was not refused")


def main(server, ca_file, token_file):
    objects = connect(server, ca_file, token_file)
    assert NAME not in names(objects)
    token = present(objects)

    request = api.CreateRequest(ref=config_map(), json=json.dumps(body("one")).encode())
    created = objects.Create(request, timeout=DEADLINE).object
    print(f"created {created.ref.name} at revision {created.revision}")
    assert NAME in names(objects)

    event = next_change(objects, token)
    assert event.type == api.WatchResponse.TYPE_ADDED and event.object.uid == created.uid
    print(f"the watch resumed and saw it at {event.resume_token}")

    # Whoever writes says which revision he read, so that nobody's change is lost.
    changed = json.loads(created.json)
    changed["data"]["key"] = "two"
    update = api.UpdateRequest(ref=config_map(NAME), json=json.dumps(changed).encode())
    updated = objects.Update(update, timeout=DEADLINE).object
    assert updated.revision > created.revision
    code, info = refused(objects.Update, update)
    assert code == grpc.StatusCode.ABORTED and info.reason == "Conflict", (code, info)
    print(f"the same update again: {code.name}, {info.reason} of {info.domain}")

    objects.Delete(api.DeleteRequest(ref=config_map(NAME)), timeout=DEADLINE)
    code, info = refused(objects.Get, api.GetRequest(ref=config_map(NAME)))
    assert code == grpc.StatusCode.NOT_FOUND and info.metadata["name"] == NAME, (code, info)
    assert next_change(objects, str(updated.revision)).type == api.WatchResponse.TYPE_DELETED
    print("deleted")


if __name__ == "__main__":
    main(*sys.argv[1:])
