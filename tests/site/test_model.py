import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from kubeloop.errors import InputError
from kubeloop.site import Site, laptop, load_site
from kubeloop.site.load import named_site

URLS = {"store": "s3://bucket/root", "sql": "postgresql://db/kubeloop", "tracking": "https://mlflow:5000"}


def test_a_laptop_keeps_all_below_its_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    site = laptop(Path("state"), tmp_path / "sub" / "..")
    assert site.home == tmp_path / "state"
    assert site.store == f"file://{tmp_path}/state/store"
    assert site.sql == f"sqlite:///{tmp_path}/state/kubeloop.db"
    assert site.tracking == f"sqlite:///{tmp_path}/state/mlflow.db"
    assert (site.name, site.namespace, site.inputs, site.allow_unsigned) == ("laptop", "default", str(tmp_path), True)
    assert not site.home.exists()


@pytest.mark.parametrize("name", ["what?", "a#b", "a::b", "a*", "a[1]", "a%20b"])
def test_a_home_that_no_url_can_carry_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="which its URLs cannot carry"):
        laptop(tmp_path / name)


def test_spaces_and_umlauts_in_the_home_work(tmp_path):
    from kubeloop.site.addresses import filesystem, write_whole
    from kubeloop.store import open_engine

    site = laptop(tmp_path / "mein Größe & co")
    open_engine(site)
    files, path = filesystem(site, f"{site.store}/a b.txt")
    write_whole(files, path, b"x")
    assert (site.home / "store" / "a b.txt").read_bytes() == b"x"
    assert (site.home / "kubeloop.db").is_file()


def test_a_site_is_plain_data():
    site = Site(home=Path("/x"), **URLS)
    assert site.allow_unsigned is False
    assert Site.model_validate_json(site.model_dump_json()) == site
    assert pickle.loads(pickle.dumps(site)) == site


def test_unknown_keys_and_bad_namespaces_are_refused():
    with pytest.raises(ValidationError, match="extra"):
        Site(**URLS, stores="x")  # type: ignore[call-arg]  # refused on purpose
    with pytest.raises(ValidationError, match="namespace"):
        Site(**URLS, namespace="Not A Label")


def test_a_relative_home_is_refused():
    with pytest.raises(InputError, match="home must be an absolute path, got state"):
        Site(**URLS, home=Path("state"))


def test_without_a_mount_it_is_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    mount = {"KUBELOOP_SITE_DIR": str(tmp_path / "empty")}
    assert load_site(mount) == laptop(tmp_path / ".kubeloop")
    assert load_site({"KUBELOOP_SITE_DIR": "/absent", "KUBELOOP_HOME": "/h", "KUBELOOP_INPUTS": "/i"}) == laptop(
        Path("/h"), Path("/i")
    )


def test_a_mounted_file_is_the_site(tmp_path):
    (tmp_path / "site.yaml").write_text(
        "name: prod\nstore: s3://b/r/\nsql: postgresql://db/k\ntracking: https://m\nnamespace: team-a\n"
    )
    site = load_site({"KUBELOOP_SITE_DIR": str(tmp_path)})
    assert (site.name, site.store, site.namespace, site.home) == ("prod", "s3://b/r", "team-a", None)


def test_a_mounted_file_without_home_or_inputs_takes_those_of_the_environment(tmp_path):
    (tmp_path / "site.yaml").write_text("store: s3://b/r\nsql: postgresql://db/k\ntracking: https://m\ninputs: /own\n")
    site = load_site({"KUBELOOP_SITE_DIR": str(tmp_path), "KUBELOOP_HOME": "/h", "KUBELOOP_INPUTS": "/i"})
    assert (site.home, site.inputs, site.store) == (Path("/h"), "/own", "s3://b/r")


def test_a_variable_holds_the_site_where_no_folder_does(tmp_path):
    text = "store: s3://b/r\nsql: postgresql://db/k\ntracking: https://m\n"
    nowhere = {"KUBELOOP_SITE_DIR": str(tmp_path), "KUBELOOP_SITE_YAML": text}
    assert load_site(nowhere).store == "s3://b/r"
    (tmp_path / "site.yaml").write_text(text.replace("s3://b/r", "s3://b/file"))
    assert load_site(nowhere).store == "s3://b/file"
    with pytest.raises(InputError, match=r"^\$KUBELOOP_SITE_YAML: .*stroe is no known key, did you mean store\?"):
        load_site({"KUBELOOP_SITE_YAML": text.replace("store", "stroe")})


def test_a_laptop_knows_other_sites_by_name(tmp_path):
    folder = tmp_path / "sites" / "prod"
    folder.mkdir(parents=True)
    (folder / "site.yaml").write_text("store: s3://b/r\nsql: postgresql://db/k\ntracking: https://m\n")
    site = named_site(tmp_path, "prod", Path("/i"))
    assert (site.name, site.home, site.inputs) == ("prod", tmp_path, "/i")
    assert named_site(tmp_path, "laptop") == laptop(tmp_path)
    with pytest.raises(InputError, match=r"the Site prud was expected at .*/sites/prud/site.yaml.*known: prod"):
        named_site(tmp_path, "prud")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("stroe: s3://b\nsql: x\ntracking: x\n", "stroe is no known key, did you mean store?"),
        ("store: s3://b\n", "sql: field required; tracking: field required"),
        ("a: b: c\n", r"site.yaml:1: not YAML"),
        ("- a\n", "keys and values were expected, got list"),
        ("", "keys and values were expected, got NoneType"),
        ("store: s3://b\nsql: x\ntracking: x\nnamespace: 'A B'\n", "namespace: string should match"),
    ],
)
def test_a_wrong_file_is_named_with_all_that_is_wrong(tmp_path, text, problem):
    (tmp_path / "site.yaml").write_text(text)
    with pytest.raises(InputError) as caught:
        load_site({"KUBELOOP_SITE_DIR": str(tmp_path)})
    assert str(tmp_path / "site.yaml") in caught.value.problem
    assert problem.replace("\\", "") in caught.value.problem


def test_a_file_in_another_encoding_is_named(tmp_path):
    (tmp_path / "site.yaml").write_bytes("name: Größe".encode("latin-1"))
    with pytest.raises(InputError, match="not YAML text in UTF-8"):
        load_site({"KUBELOOP_SITE_DIR": str(tmp_path)})
