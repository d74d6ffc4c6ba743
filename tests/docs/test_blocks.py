"""Every code block of the pages is run, or checked, or says why not."""

import re
import tomllib
import types
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from fusionzoo import cli, registry
from fusionzoo.bench.grid import read_tables
from fusionzoo.bench.size import Size, read_size
from fusionzoo.cli import main
from fusionzoo.conformance import find_subjects
from fusionzoo.data.dataset_yaml import parse_roles
from fusionzoo.grammar import parse
from fusionzoo.models.matrix import small_options
from fusionzoo.recipes import load_recipes
from fusionzoo.scaffold import contents
from tests.docs.blocks import ROOT, Block, all_blocks, blocks_of

BLOCKS = all_blocks()
#: `pycon` blocks are run by tests/test_examples.py; `text` shows output and spec strings.
ELSEWHERE = {"pycon", "text"}
#: Blocks that may say why they aren't run, and no more.
MOST_NOT_RUN = 8
#: Commands that are quick enough to be run as they stand.
QUICK = {"list", "plugins", "recipe list", "recipe show", "show", "audit"}
#: Programs that pages may call beside ours.
PROGRAMS = {"git", "make", "pip", "pytest", "python", "cd", "torchrun", "sbatch", "ray"}

QUICK_RUN = {"recipe": "untrained", "baselines": "none"}


def of(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages and not block.reason]


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory):
    """`fusionzoo.run` of the smallest form of every part, untrained, once for each spec."""
    from fusionzoo.api import run

    records: dict[str, Any] = {}
    smallest = Size("smallest", "", small_options(), {})
    out = tmp_path_factory.mktemp("pages")

    def quick(spec: str, **options: Any) -> Any:
        if spec not in records:
            options |= {"training": QUICK_RUN, "out": out, "device": "cpu"}
            records[spec] = run(smallest.apply(parse(spec)), **options)
        return records[spec]

    quick.store = out  # type: ignore[attr-defined]
    return quick


def test_every_language_is_known():
    known = ELSEWHERE | {"python", "console", "bash", "toml", "yaml"}
    strange = [
        f"{block}: {block.language!r}"
        for block in BLOCKS
        if block.language not in known and not block.language.startswith("{")  # a directive
    ]
    assert strange == []


def test_few_blocks_are_not_run_and_each_says_why():
    left = [block for block in BLOCKS if block.reason]
    assert len(left) <= MOST_NOT_RUN, left
    assert all(len(block.reason.split()) >= 3 for block in left)
    assert len(of("python", "console", "bash", "toml", "yaml")) > 20


@pytest.mark.parametrize("block", of("python"), ids=str)
def test_python_runs(block, quick_run, monkeypatch, tmp_path):
    if block.page == "docs/adding_a_component.md" and "gate" in block.text.lower():
        pytest.skip("run as one by tests/test_examples.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fusionzoo.api.run", quick_run)
    if "board.csv" in block.text:
        quick_run("table=mlp -> linear", dataset="lidc")
        main(["leaderboard", str(quick_run.store), "--out", "board.csv"])
    exec(compile(block.text, str(block), "exec"), {"__name__": "page"})


@pytest.mark.parametrize("block", of("toml"), ids=str)
def test_toml_is_read(block, tmp_path):
    told = tomllib.loads(block.text)
    path = tmp_path / "block.toml"
    path.write_text(block.text)
    if "paper" in told:
        (recipe,) = load_recipes(str(path))
        assert recipe.rows
    elif "grid" in told:
        (table,) = read_tables(str(path))
        assert len(table.rows) > len(told["rows"])
    elif "options" in told:
        assert read_size(str(path)).options
    else:
        assert {"project", "presets", "tool"} & set(told), told


@pytest.mark.parametrize("block", of("yaml"), ids=str)
def test_yaml_is_read(block):
    if "manifest" in yaml.safe_load(block.text):
        assert parse_roles(block.text, str(block)).targets


def command_of(words: list[str]) -> tuple[click.Command, list[str], str]:
    """The command that words call, what is left of them, and its name."""
    command: click.Command = cli._root
    name: list[str] = []
    rest = words[1:]
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        context = command.make_context(" ".join(name), list(rest))
        left = [*context._protected_args, *context.args]
        called, found, rest = command.resolve_command(context, left)
        assert found is not None
        command, name = found, [*name, str(called)]
    return command, rest, " ".join(name)


def check_command(words: list[str], call: Any) -> None:
    """A command of ours has these options, and is run where it is quick."""
    command, rest, name = command_of(words)
    command.make_context(name, list(rest))
    if name == "check":
        assert find_subjects(rest[0])
    elif name in QUICK and not any(is_placeholder(word) for word in rest):
        code, _, err = call(*words[1:])
        assert code == 0, err


def is_placeholder(word: str) -> bool:
    """Whether a word names a file or run of the reader's."""
    suffixes = (".csv", ".yaml", ".toml", ".pth", ".pt", ".safetensors")
    return word.endswith(suffixes) or "RUN" in word or ("/" in word and not in_package(word))


def in_package(word: str) -> bool:
    return bool(re.fullmatch(r"[a-z0-9_]+/[a-z0-9_]+", word))  # a recipe


@pytest.fixture
def call(capsys):
    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(list(arguments))
        except SystemExit as stop:
            code = int(stop.code or 0)
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


@contextmanager
def parts_of_the_page(page: str) -> Iterator[None]:
    """Components that a page defines, or begins with a template, under their names."""
    with ExitStack() as stack:
        for text in sources_on(page):
            module = types.ModuleType("a_page")
            exec(compile(text, page, "exec"), vars(module))
            own = [c for c in vars(module).values() if getattr(c, "__module__", "") == "a_page"]
            for cls in own:
                stack.enter_context(registry.lent("fusion", cls.__name__.lower(), cls))
        yield


def sources_on(page: str) -> list[str]:
    """Files with a fusion that a page shows, or that `plugins new` writes for it."""
    found = []
    for block in BLOCKS:
        if block.page == page and "\n@component(" in block.text:
            found.append(block.text)
        for words in block.commands if block.page == page and block.language == "console" else ():
            if words[:3] == ["fusionzoo", "plugins", "new"] and "fusion" in words:
                name = words[words.index("--name") + 1]
                files = contents(words[3], kind="fusion", name=name)
                found += [text for path, text in files.items() if path.endswith(f"/{name}.py")]
    return found


@pytest.mark.parametrize("block", of("console", "bash"), ids=str)
def test_commands_exist(block, call, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert block.commands
    with parts_of_the_page(block.page):
        check_commands(block, call)


def check_commands(block: Block, call: Any) -> None:
    """Every command of a block."""
    for words in block.commands:
        for one in split_at_and(words):
            program = Path(one[0]).name
            if program == "fusionzoo":
                check_command([program, *one[1:]], call)
            elif program == "make":
                assert_targets(one[1:])
            elif program == "pip":
                assert_extras(one[1:])
            else:
                assert program in PROGRAMS, one
                assert_scripts(one[1:])


def split_at_and(words: list[str]) -> list[list[str]]:
    """Commands that are joined by '&&'."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "&&":
            parts.append([])
        else:
            parts[-1].append(word)
    return parts


def assert_targets(words: list[str]) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for word in words:
        assert "=" in word or re.search(rf"^{word}:", makefile, re.MULTILINE), word


def assert_extras(words: list[str]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words:
        found = re.fullmatch(r"fusionzoo\[([\w,-]+)\]", word)
        for extra in found[1].split(",") if found else ():
            assert extra in project["optional-dependencies"], word


def assert_scripts(words: list[str]) -> None:
    for word in words:
        if word.endswith(".py") and "/" in word:
            assert (ROOT / word).is_file(), word


def test_what_is_wrong_is_found(call):
    page = "```console\n$ fusionzoo run --flavour sweet\n```\n"
    (block,) = blocks_of(page, "page")
    with pytest.raises(click.NoSuchOption, match="--flavour"):
        check_command(block.commands[0], call)
    with pytest.raises(click.UsageError, match="There is no command 'rnu'"):
        check_command(["fusionzoo", "rnu"], call)
    with pytest.raises(AssertionError):
        check_command(["fusionzoo", "show", "ct=penet3d -> msac -> linear"], call)
    with pytest.raises(AssertionError):
        assert_targets(["dmeo"])
    with pytest.raises(AssertionError):
        assert_extras(["fusionzoo[nothing]"])


def test_blocks_are_taken_apart():
    page = (
        "# Page\n\n<!-- not run: it needs a cluster -->\n```console\n$ A=1 fusionzoo list \\\n"
        "    fusions  # all\nfusions (3)\n```\n\n1. item\n\n   ```python\n   x = 1\n   ```\n"
    )
    first, second = blocks_of(page, "page")
    assert (first.reason, first.commands) == (
        "it needs a cluster",
        [["fusionzoo", "list", "fusions"]],
    )
    assert (second.language, second.reason) == ("python", "")
