"""Image archives into containerd, layer by layer: what it has already is not read again."""

import hashlib
import io
import json
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.bed import layout
from tests.cluster.bed.daemons import run

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar"


@dataclass(frozen=True)
class Image:
    """What an archive holds.

    Attributes:
        name: As pods name it.
        manifest: The document that names its parts by their digests, as bytes; its own digest is the image's.
        members: The archive's members by those digests.
    """

    name: str
    manifest: bytes
    members: dict[str, tarfile.TarInfo]


def ctr(*command: str, check: bool = True) -> str:
    """Ask containerd."""
    return run(*_ctr(*command), check=check)


def _ctr(*command: str) -> list[str]:
    return ["ctr", "-a", str(layout.CONTAINERD), "-n", "k8s.io", *command]


def load_images() -> None:
    """Import what the node does not have yet: of an image whose last layer has changed, that layer alone."""
    lines = (line.split() for line in ctr("images", "ls").splitlines()[1:])
    there = {words[0]: words[2] for words in lines}
    for archive in sorted(layout.IMAGES.glob("*.tar")):
        with tarfile.open(archive) as source:
            image = read(source)
            if there.get(image.name) != digest_of(image.manifest):
                _import(image, source, has=set(ctr("content", "ls", "-q").split()))


def read(source: tarfile.TarFile) -> Image:
    """What is in an archive as `buildah push docker-archive:` writes it: members named by their digests, not packed."""
    (listed,) = json.load(_file(source, source.getmember("manifest.json")))
    members = {name: source.getmember(name) for name in (listed["Config"], *listed["Layers"])}
    named = {name: f"sha256:{Path(name).stem}" for name in members}

    def part(kind: str, name: str) -> dict[str, object]:
        return {"mediaType": kind, "digest": named[name], "size": members[name].size}

    layers = [part(_LAYER, name) for name in listed["Layers"]]
    manifest = {"schemaVersion": 2, "mediaType": _MANIFEST, "config": part(_CONFIG, listed["Config"]), "layers": layers}
    by_digest = {named[name]: member for name, member in members.items()}
    return Image(listed["RepoTags"][0], _json(manifest), by_digest)


def _import(image: Image, source: tarfile.TarFile, has: set[str]) -> None:
    """Hand containerd an image in OCI's layout, without the parts that it has.

    Raises:
        RuntimeError: It does not take it; with what it said.
    """
    annotations = {"io.containerd.image.name": image.name}
    size, digest = len(image.manifest), digest_of(image.manifest)
    entry = {"mediaType": _MANIFEST, "digest": digest, "size": size, "annotations": annotations}
    texts = {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
        _place(digest): image.manifest,
    }
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(_ctr("images", "import", "-"), stdin=subprocess.PIPE, stdout=said, stderr=said) as taker:
            try:
                with tarfile.open(fileobj=taker.stdin, mode="w|") as stream:
                    for name, text in texts.items():
                        _put(stream, name, len(text), io.BytesIO(text))
                    for part in sorted(set(image.members) - has):
                        _put(stream, _place(part), image.members[part].size, _file(source, image.members[part]))
            except BrokenPipeError:
                pass  # it has ended, and has said why
        if taker.returncode != 0:
            said.seek(0)
            raise RuntimeError(f"containerd did not take {image.name}: {said.read().decode(errors='replace').strip()}")


def _put(stream: tarfile.TarFile, name: str, size: int, content: Any) -> None:
    info = tarfile.TarInfo(name)
    info.size = size
    stream.addfile(info, content)


def _file(source: tarfile.TarFile, member: tarfile.TarInfo) -> Any:
    return source.extractfile(member)


def _place(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def digest_of(content: bytes) -> str:
    """As registries write it."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _json(document: Any) -> bytes:
    return json.dumps(document, sort_keys=True).encode("ascii")
