"""Checks rendered charts: `check.py FOLDER VALUES`. Standard objects against Kubernetes' own schemas, KEDA's by the fields that it has, and what ties them together."""

import json
import pathlib
import subprocess
import sys

import yaml

# Fields of keda.sh/v1alpha1 ScaledJob's spec: what a strict API server takes.
SCALED_JOB = {
    "jobTargetRef", "pollingInterval", "successfulJobsHistoryLimit", "failedJobsHistoryLimit", "rollout",
    "envSourceContainerName", "minReplicaCount", "maxReplicaCount", "scalingStrategy", "triggers",
}
KUBERNETES = "1.30"


def schemas():
    try:
        import kubernetes_validate
    except ImportError:
        print("SKIPPED: Kubernetes' schemas are not installed (pip install kubernetes-validate); own checks only")
        return lambda resource: None
    return lambda resource: kubernetes_validate.validate(resource, KUBERNETES, strict=True)


def check_scaled_job(job, validate, service):
    spec = job["spec"]
    assert set(spec) <= SCALED_JOB, set(spec) - SCALED_JOB
    assert spec["minReplicaCount"] == 0, "it reaches zero"
    assert spec["maxReplicaCount"] >= 1 and spec["pollingInterval"] >= 1
    assert spec["scalingStrategy"] == {"strategy": "default"}
    assert spec["rollout"] == {"strategy": "gradual", "propagationPolicy": "foreground"}
    [trigger] = spec["triggers"]
    assert trigger["type"] == "external" and set(trigger) == {"type", "metadata"}
    metadata = trigger["metadata"]
    assert set(metadata) == {"scalerAddress", "taskKind", "count", "tasksPerReplica"}
    assert all(isinstance(value, str) for value in metadata.values()), "KEDA takes strings alone"
    assert metadata["count"] == "open" and 1 <= int(metadata["tasksPerReplica"]) <= 1000
    kind = metadata["taskKind"]
    assert kind in ("segment", "merge", "wrap") and job["metadata"]["name"].endswith("-" + kind)
    if service:
        assert metadata["scalerAddress"] == f"{service}.joule.svc:9101", metadata
    # KEDA makes Jobs of it, so it has to be one.
    validate({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "spec": spec["jobTargetRef"]})
    pod = spec["jobTargetRef"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never" and spec["jobTargetRef"]["backoffLimit"] == 0
    [container] = pod["containers"]
    arguments = dict(argument.removeprefix("--").split("=", 1) for argument in container["args"][1:] if "=" in argument)
    assert container["args"][0] == "join" and arguments["kinds"] == kind
    assert int(arguments["leave-when-idle"]) >= 1, "a job ends by itself"
    assert pod["terminationGracePeriodSeconds"] >= 60, "a task is finished after SIGTERM"
    memory = container["resources"]
    assert memory["limits"]["memory"] == memory["requests"]["memory"] == f"{int(arguments['memory']) + 256}Mi"
    assert "/p2p/12D3KooW" in arguments["coordinator"]
    if service:
        assert arguments["coordinator"].startswith(f"/dns4/{service}.joule.svc/tcp/9100/p2p/")
    return kind, container


def check_pod(pod):
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in pod["containers"]:
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        mounted = {mount["name"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}


def check_coordinator(objects):
    deployment, service, claim = (objects[kind] for kind in ("Deployment", "Service", "PersistentVolumeClaim"))
    assert deployment["spec"]["replicas"] == 1 and deployment["spec"]["strategy"] == {"type": "Recreate"}
    pod = deployment["spec"]["template"]
    labels = pod["metadata"]["labels"].items()
    assert service["spec"]["selector"].items() <= labels
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    [container] = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for port in service["spec"]["ports"]:
        assert ports[port["targetPort"]] == port["port"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    assert "--stay" in container["args"] and "--out=/data" in container["args"]
    claims = [volume["persistentVolumeClaim"]["claimName"] for volume in pod["spec"]["volumes"] if volume["name"] == "data"]
    assert claims == [claim["metadata"]["name"]]
    for price in (argument for argument in container["args"] if argument.startswith("--price")):
        assert price.split("=")[1].isdigit(), f"{price}: a whole number, and none in scientific notation"
    check_pod(pod["spec"])
    return container


def options(container, validate_with):
    """Whether the program knows the options, if there is a program."""
    if not validate_with:
        return
    said = subprocess.run([validate_with, container["args"][0], "--help"], capture_output=True, text=True, check=True).stdout
    for argument in container["args"][1:]:
        assert argument.split("=")[0] in said, f"joule-prover {container['args'][0]} has no {argument}"


def main(folder, values):
    import os
    validate = schemas()
    program = os.environ.get("JOULE_PROVER")
    if not program:
        print("SKIPPED: whether joule-prover knows the options (set JOULE_PROVER to the program)")
    kinds = {"whole": ["merge", "segment", "wrap"], "first": [], "external": ["merge", "segment", "wrap"], "segments": ["segment"]}
    for path in sorted(pathlib.Path(folder).glob("*.yaml")):
        documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
        names = [(document["kind"], document["metadata"]["name"]) for document in documents]
        assert len(set(names)) == len(names), "two objects of one name"
        assert all(len(name) <= 63 for _, name in names)
        standard = {document["kind"]: document for document in documents if document["kind"] != "ScaledJob"}
        for document in standard.values():
            validate(document)
        service = standard["Service"]["metadata"]["name"] if "Service" in standard else None
        assert (service is None) == (path.stem == "external")
        assert ("NetworkPolicy" in standard) == (path.stem in ("whole", "first"))
        if service:
            options(check_coordinator(standard), program)
        found = []
        for job in (document for document in documents if document["kind"] == "ScaledJob"):
            kind, container = check_scaled_job(job, validate, service)
            check_pod(job["spec"]["jobTargetRef"]["template"]["spec"])
            options(container, program)
            found.append(kind)
        assert sorted(found) == kinds[path.stem], found
        print(f"{path.stem}: {len(documents)} objects")
    # Every value is in the schema.
    schema = json.loads(pathlib.Path(values).with_name("values.schema.json").read_text())

    def covered(value, part, path):
        while "$ref" in part:
            part = schema["definitions"][part["$ref"].rsplit("/", 1)[1]]
        if isinstance(value, dict) and "properties" in part:
            assert part.get("additionalProperties") is False, f"{path} takes anything"
            for key, inner in value.items():
                assert key in part["properties"], f"{path}.{key} is not in the schema"
                covered(inner, part["properties"][key], f"{path}.{key}")

    covered(yaml.safe_load(pathlib.Path(values).read_text()), schema, "values")


main(*sys.argv[1:])
