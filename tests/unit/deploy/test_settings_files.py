"""What the user sets stands in .env.example and reaches the containers; neither is ever stale."""

import re

import pytest

from scripts import env_example, fill_env, stale

EXAMPLE = env_example.TARGET.read_text()


def test_the_example_is_what_the_settings_classes_say():
    assert env_example.render() == EXAMPLE


def test_the_containers_get_every_setting():
    text = env_example.COMPOSE.read_text()

    assert env_example.compose(text) == text


@pytest.mark.parametrize(("service", "settings"), env_example.SERVICES)
def test_the_example_lists_every_variable_of(service, settings):
    listed = set(re.findall(r"^#?(\w+)=", EXAMPLE, re.MULTILINE))

    assert {name for name, _ in env_example.variables(settings)} <= listed


def test_the_example_holds_no_secret():
    secrets = re.findall(r"^#?\w*(?:PASSWORD|TOKEN|_KEY)=(.*)$", EXAMPLE, re.MULTILINE)

    assert len(secrets) > 10
    assert {""} == set(secrets)


def test_making_the_env_fills_every_secret_of_ours_and_no_two_alike():
    made = re.findall(r"^(\w+)=(.*)$", fill_env.filled(EXAMPLE), re.MULTILINE)
    values = [value for _, value in made]

    assert {"POSTGRES_PASSWORD", "INTERNAL_TOKEN", "GATEWAY_ADMIN_KEY"} <= {
        name for name, _ in made
    }
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in values)
    assert len(values) == len(set(values))


def test_a_lock_that_misses_or_contradicts_the_project_is_named():
    project = """
        [project]
        name = "it"
        dependencies = ["present>=1", "Too_Old>=2"]
        [project.optional-dependencies]
        extra = ["absent"]
        dev = ["it[extra]"]
    """
    lock = 'present==1.4 \\\n    --hash=sha256:00\ntoo-old==1.9 ; python_version > "3"\n'

    assert [
        "requirements.lock does not satisfy `Too_Old>=2`: run `make lock`",
        "requirements.lock does not satisfy `absent`: run `make lock`",
    ] == list(stale.stale_lock(project, lock))
