import json
import logging
import pickle
import traceback
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from kubeloop.errors import InputError
from kubeloop.site import Secret, Site, laptop, load_site, resolve
from kubeloop.site import secrets as secrets_module
from kubeloop.site.secrets import read_secret

CANARY = "c4n4ry-p@ss/wörd:%"
WITH_REFERENCE = "postgresql://me:${secret:db-password}@db:5432/kubeloop"


@pytest.fixture
def site(tmp_path):
    return laptop(tmp_path)


@pytest.fixture
def mounted(tmp_path, monkeypatch):
    folder = tmp_path / "mounted"
    folder.mkdir()
    monkeypatch.setattr(secrets_module, "SECRET_DIR", folder)
    return folder


def _own(site, name, value, mode=0o600):
    path = site.home / "secrets" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(value)
    path.chmod(mode)
    return path


def test_the_environment_comes_first_then_the_mount_then_home(site, mounted):
    _own(site, "db-password", "from home\n")
    assert resolve("${secret:db-password}", site, {}) == "from home"
    (mounted / "db-password").write_text("from mount")
    assert resolve("${secret:db-password}", site, {}) == "from mount"
    assert resolve("${secret:db-password}", site, {"KUBELOOP_SECRET_DB_PASSWORD": "from env"}) == "from env"


def test_text_without_a_reference_is_itself(site):
    assert resolve("sqlite:////x/$HOME/{a}.db", site, {}) == "sqlite:////x/$HOME/{a}.db"


def test_in_a_url_any_value_arrives_whole(site):
    url = sa.make_url(resolve(WITH_REFERENCE, site, {"KUBELOOP_SECRET_DB_PASSWORD": CANARY}))
    assert (url.username, url.password, url.host, url.database) == ("me", CANARY, "db", "kubeloop")


def test_a_whole_url_may_be_a_secret(site):
    assert resolve("${secret:url}", site, {"KUBELOOP_SECRET_URL": "http://a:b@c"}) == "http://a:b@c"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o620])
def test_a_file_that_others_can_read_is_refused(site, mode):
    _own(site, "key", CANARY, mode)
    with pytest.raises(InputError, match=f"mode {mode:04o}, and 0600 was expected") as caught:
        resolve("${secret:key}", site, {})
    assert "chmod 600" in caught.value.fix
    assert CANARY not in str(caught.value)


def test_a_secret_that_is_nowhere_names_the_places(site):
    with pytest.raises(InputError, match=r"KUBELOOP_SECRET_MY_KEY, /etc/kubeloop/secret/my.key, .*/secrets/my.key"):
        resolve("${secret:my.key}", site, {})


def test_an_empty_secret_is_refused(site):
    _own(site, "key", "\n")
    with pytest.raises(InputError, match="the secret key is empty"):
        resolve("${secret:key}", site, {})


@pytest.mark.parametrize("name", ["../key", "a/b", "", "-a"])
def test_a_reference_cannot_leave_the_folder(site, name):
    assert resolve(f"${{secret:{name}}}", site, {}) == f"${{secret:{name}}}"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{CANARY}@db/x",
        "https://:c4n4ry@mlflow",
        "s3://AKIA:c4n4ry@bucket/x",
        "postgresql://db/x?user=me&password=c4n4ry",
        "postgresql://db/x?sslpassword=c4n4ry",
        "https://mlflow/?token=c4n4ry",
        "postgresql://me:${secret:a}c4n4ry@db/x",
        "s3://b?secret_access_key=c4n4ry",
    ],
)
@pytest.mark.parametrize("field", ["store", "sql", "tracking"])
def test_a_password_in_clear_is_refused_and_not_repeated(tmp_path, field, url):
    fields = {"store": "s3://b", "sql": "sqlite:////x", "tracking": "https://m", field: url}
    with pytest.raises(InputError, match=f"{field} holds a password in clear") as caught:
        Site(**fields)
    (tmp_path / "site.yaml").write_text(json.dumps(fields))
    with pytest.raises(InputError, match=f"{field} holds a password in clear") as from_file:
        load_site({"KUBELOOP_SITE_DIR": str(tmp_path)})
    for error in (caught.value, from_file.value):
        assert "c4n4ry" not in f"{error!r} {error} {error.to_dict()}"


@pytest.mark.parametrize(
    "url",
    [
        WITH_REFERENCE,
        "postgresql://me@db/x",
        "postgresql://db:5432/x",
        "s3://bucket/a:b@c",
        "file:///home/a:b@c/store",
        "postgresql://db/x?password=${secret:db}",
        "sqlite:////home/me/x.db",
    ],
)
def test_what_holds_no_password_is_taken(url):
    assert Site(store="s3://b", sql=url, tracking="https://m").sql == url


def test_the_canary_is_seen_nowhere(tmp_path, caplog, capfd):
    caplog.set_level(logging.DEBUG)
    environ = {"KUBELOOP_SECRET_DB_PASSWORD": CANARY, "KUBELOOP_SECRET_BAD": CANARY}
    site = Site(home=tmp_path, store="s3://b", sql=WITH_REFERENCE, tracking="https://x:${secret:bad}@m")
    secret = read_secret("db-password", site, environ)
    assert secret.reveal() == CANARY
    assert resolve(site.sql, site, environ) != site.sql  # resolving changes nothing in the Site
    seen = [repr(site), str(site), str(site.model_dump()), site.model_dump_json(), str(vars(site))]
    seen += [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", "%s" % secret]  # noqa: UP031
    hidden: Any = secret  # no mapping, and used as one
    for leak in (lambda: json.dumps(secret), lambda: pickle.dumps(secret), lambda: vars(secret), lambda: {**hidden}):
        with pytest.raises(TypeError) as refused:
            leak()
        seen += traceback.format_exception(refused.value)
    for broken in ({"namespace": CANARY}, {"nmae": CANARY}, {"store": ["s3://" + CANARY]}):
        (tmp_path / "site.yaml").write_text(json.dumps({**site.model_dump(mode="json"), **broken}))
        with pytest.raises(InputError) as wrong:
            load_site({"KUBELOOP_SITE_DIR": str(tmp_path)})
        seen += [str(wrong.value), str(wrong.value.to_dict()), *traceback.format_exception(wrong.value)]
    seen += [caplog.text, *capfd.readouterr()]
    assert not [text for text in seen if "c4n4ry" in text]


def test_the_canary_is_not_in_what_a_database_that_fails_says(tmp_path, monkeypatch):
    from kubeloop.errors import KubeloopError
    from kubeloop.store import open_engine

    monkeypatch.setenv("KUBELOOP_SECRET_DB_PASSWORD", CANARY)
    for sql in (
        "postgresql://me:${secret:db-password}@127.0.0.1:1/x",
        "nodialect://me:${secret:db-password}@h/x",
        "sqlite:////proc/${secret:db-password}/x.db",
    ):
        site = laptop(tmp_path).model_copy(update={"sql": sql})
        with pytest.raises(KubeloopError) as caught:
            open_engine(site)
        assert "c4n4ry" not in "".join(traceback.format_exception(caught.value))
        assert "c4n4ry" not in str(caught.value.to_dict())


def test_a_secret_is_a_value_with_a_name(tmp_path):
    secret = Secret("db", "x")
    assert (secret.name, secret.reveal(), repr(secret)) == ("db", "x", "Secret('db')")
    assert not hasattr(secret, "__dict__")
    assert Path(tmp_path).exists()
