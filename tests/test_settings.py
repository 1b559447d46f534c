"""Settings: who has the last word, what is refused, and what survives being written."""

import dataclasses
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from rpp_rl.sac.config import SACConfig, sac_config
from rpp_rl.settings import load_yaml, nearest, parse_yaml


@pytest.fixture
def write(tmp_path):
    """Writes a YAML file and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "settings.yaml"
        path.write_text(text)
        return path

    return write


def test_defaults_are_those_of_the_paper():
    config = sac_config({"env": "Ant-v4"})
    assert (config.n_timesteps, config.batch_size, config.learning_rate, config.gamma) == (1_000_000, 256, 3e-4, 0.99)
    assert (config.eval_freq, config.eval_episodes, config.mode) == (10_000, 10, "mlp")


def test_flag_beats_file_beats_default(write):
    path = write("gamma: 0.9\ntau: 0.1")
    config = sac_config({"env": "Ant-v4", "tau": 0.2}, path)
    assert (config.gamma, config.tau, config.batch_size) == (0.9, 0.2, 256)


def test_a_section_of_the_environment_beats_the_default_section(write):
    path = write("default: {gamma: 0.9, tau: 0.1}\nSwimmer-v4: {gamma: 0.999}\nAnt-v4:\n")
    assert sac_config({"env": "Swimmer-v4"}, path).gamma == 0.999
    assert sac_config({"env": "Swimmer-v4"}, path).tau == 0.1
    assert sac_config({"env": "Ant-v4"}, path).gamma == 0.9


def test_the_zoos_way_of_writing_is_read(write):
    path = write("Ant-v4: &base\n  n_timesteps: !!float 1e6\n  learning_starts: 100\nAnt-v5:\n  <<: *base\n")
    assert sac_config({"env": "Ant-v5"}, path).n_timesteps == 1_000_000


@pytest.mark.parametrize("text", ["3e-4", "3.e-4", "3.0E-4", "0.0003", "!!float 3e-4"])
def test_numbers_are_read_as_in_python(write, text):
    assert sac_config({"env": "Ant-v4"}, write(f"learning_rate: {text}")).learning_rate == 3e-4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gama: 1", "unknown setting 'gama'; did you mean gamma"),
        ("Ant-v5: {gama: 1}", "section 'Ant-v5': unknown setting 'gama'"),
        ("Ant-v5: {gamma: 1.0}", "no section for 'Ant-v4'"),
        ("Ant-v4: {gamma: 1.0}\ntau: 1.0", "expected settings under 'tau'"),
        ("gamma: high", "gamma: expected a number, got 'high'"),
        ("learning_rate: '3e-4'", "learning_rate: expected a number, got '3e-4'"),
        ("gamma: 1.5", "gamma: expected at most 1"),
        ("gamma: .nan", "gamma: expected at least 0"),
        ("batch_size: 2.5", "batch_size: expected an integer"),
        ("batch_size: true", "batch_size: expected an integer, got True"),
        ("n_timesteps: 0", "n_timesteps: expected at least 1"),
        ("seed: -1", "seed: expected at least 0"),
        ("seed: 1e12", "seed: expected at most 4294967295"),
        ("n_timesteps: .inf", "n_timesteps: expected an integer"),
        ("net_arch: 64", "net_arch: expected a list with an integer at each place"),
        ("net_arch: [64, 0]", "net_arch: expected at least 1"),
        ("optimizer_betas: [0.5]", "optimizer_betas: expected two numbers"),
        ("policy_only: 1", "policy_only: expected true or false"),
        ("mode: cnn", "mode: expected 'mlp' or 'rpp' or 'emlp'"),
        ("group: 4", "group: expected text or nothing"),
        ("save_replay_buffer: off", "save_replay_buffer: expected true or false, got 'off'"),
        ("ent_coef: aut", "ent_coef: expected a number, 'auto'"),
        ("ent_coef: auto_0.0", "ent_coef: expected a number, 'auto'"),
        ("env_kwargs: [1]", "env_kwargs: expected a mapping"),
        ("- 1", "expected lines of the form 'key: value'"),
        ("1: 2", "expected lines of the form 'key: value'"),
        ("gamma: [", "cannot read YAML"),
        (f"n_timesteps: 1{400 * '0'}", "n_timesteps: expected an integer, got 1000"),
        (f"gamma: 1{400 * '0'}", "gamma: expected a number, got 1000"),
        (f"gamma: {21 * '['}{21 * ']'}", "nested too deeply, in more than 20 brackets"),
        ("gamma: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
    ],
)
def test_a_mistake_is_named(write, text, message):
    with pytest.raises(ValueError, match=message):
        sac_config({"env": "Ant-v4"}, write(text))


def merging(n_mappings):
    """A list of mappings that all merge the same hundred keys."""
    keys = ", ".join(f"k{i}: 1" for i in range(100))
    return f"a: &a {{{keys}}}\nb:\n" + n_mappings * "- {<<: *a}\n"


def test_merged_mappings_are_bounded():
    data = parse_yaml(merging(10))
    assert isinstance(data, dict)
    assert data["b"] == 10 * [data["a"]]
    with pytest.raises(ValueError, match="merged mappings expand to too many values"):
        parse_yaml(merging(3000))
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_yaml("a: &a {<<: *a}")


@pytest.mark.parametrize("tag", ["", "!!pairs", "!!omap"])
def test_aliases_are_counted_as_often_as_they_are_used(tag):
    """Forty lists of twice the list before would be printed for ever."""
    first, second = ("x: ", "y: ") if tag else ("", "")
    lines = [f"a0: &a0 {tag} [{first}1]"]
    lines += [f"a{k}: &a{k} {tag} [{first}*a{k - 1}, {second}*a{k - 1}]" for k in range(1, 40)]
    assert parse_yaml("\n".join(lines[:8]))
    with pytest.raises(ValueError, match="aliases expand to too many values"):
        parse_yaml("\n".join(lines))


def test_bytes_that_are_no_text_are_named(tmp_path):
    path = tmp_path / "agent.zip"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(ValueError, match="expected a text file"):
        load_yaml(path)


def test_an_environment_is_needed():
    with pytest.raises(ValueError, match="--env"):
        sac_config({"seed": 1})


def test_unknown_flags_are_refused_too():
    with pytest.raises(ValueError, match="did you mean seed"):
        sac_config({"env": "Ant-v4", "sed": 1})


def test_every_setting_is_documented():
    assert all(field.metadata["description"] for field in dataclasses.fields(SACConfig))


def test_a_name_unlike_all_others_gets_the_whole_list():
    assert nearest("qqq", ["gamma", "tau"]) == "known are gamma, tau"


@given(
    st.builds(
        SACConfig,
        env=st.text(min_size=1),
        mode=st.sampled_from(["mlp", "rpp", "emlp"]),
        gamma=st.floats(0, 1),
        learning_rate=st.floats(1e-300, 1),
        seed=st.none() | st.integers(0, 2**32 - 1),
        ent_coef=st.sampled_from(["auto", "auto_0.1", 0.2]),
        net_arch=st.lists(st.integers(1, 512)).map(tuple),
        env_kwargs=st.dictionaries(st.text(), st.booleans() | st.floats(allow_nan=False) | st.text()),
    )
)
def test_a_written_configuration_reads_back_equal(config):
    assert SACConfig(**parse_yaml(yaml.safe_dump(config.to_dict()))) == config


def test_variances_that_older_runs_left_to_the_package_are_left_to_the_decay():
    config = SACConfig(env="Ant-v4", actor_residual_var="auto", critic_residual_var=1e-5)
    assert (config.actor_residual_var, config.critic_residual_var) == (None, 1e-5)
    assert config.actor_residual_decay == "auto"
