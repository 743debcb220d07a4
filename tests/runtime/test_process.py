"""Processes as a supervisor sees them: exit codes, one line, signals, probes."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
import textwrap
import time
import urllib.error
import urllib.request

import pytest

from stack.ports import any_free


def run(body: str, *, until: str | None = None, send: signal.Signals | None = None) -> tuple[int, str]:
    program = textwrap.dedent(
        """
        import asyncio
        from runtime import probe, process
        from runtime.problems import FatalError
        from runtime.settings import CommonSettings
        async def main(stop):
        {body}
        process.run("test", main, CommonSettings())
        """
    ).format(body=textwrap.indent(textwrap.dedent(body), "    "))
    child = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    assert child.stderr is not None
    said = ""
    if until is not None:
        for line in child.stderr:
            said += line
            if until in line:
                break
    if send is not None:
        child.send_signal(send)
    said += child.communicate(timeout=20)[1]
    return child.returncode, said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_asks_and_the_process_ends_well(number: signal.Signals) -> None:
    code, said = run(
        "import structlog; structlog.get_logger().info('waiting'); await stop.wait()", until="waiting", send=number
    )
    assert code == 0
    assert "stopped" in said


def test_as_many_files_as_the_system_allows() -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1] - 1, limits[1]))
    try:
        code, said = run(
            """
            import resource, structlog
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            structlog.get_logger().info('files', all=soft == hard)
            """
        )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert code == 0
    assert "all=True" in said


def test_what_a_person_must_mend_is_one_line() -> None:
    code, said = run(
        """
        async def fail(): raise FatalError('no such folder')
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())
        """
    )
    assert code == 1
    assert "no such folder" in said
    assert len(said.strip().splitlines()) == 1


def test_a_bug_ends_the_process_with_a_traceback() -> None:
    code, said = run("1 / 0")
    assert code == 70
    assert "ZeroDivisionError" in said


def test_the_probe_says_what_is_wrong_and_a_taken_port_is_told() -> None:
    port = any_free()
    program = textwrap.dedent(
        f"""
        import asyncio
        from runtime import probe
        wrong = []
        async def check(): return wrong[0] if wrong else None
        async def main():
            async with probe.serving("127.0.0.1", {port}, {{"part": check}}):
                print("up", flush=True); await asyncio.to_thread(input)
                wrong.append("gone"); print("changed", flush=True); await asyncio.to_thread(input)
                async with probe.serving("127.0.0.1", {port}, {{}}): pass
        asyncio.run(main())
        """
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    base = f"http://127.0.0.1:{port}"
    assert urllib.request.urlopen(f"{base}/readyz", timeout=5).status == 200
    assert b"python_info" in urllib.request.urlopen(f"{base}/metrics", timeout=5).read()
    child.stdin.write("\n")
    child.stdin.flush()
    assert child.stdout.readline() == "changed\n"
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{base}/readyz", timeout=5)
    with caught.value as answer:
        assert answer.code == 503
        assert b'"part":"gone"' in answer.read()
    assert urllib.request.urlopen(f"{base}/healthz", timeout=5).status == 200
    started = time.monotonic()
    said = child.communicate("\n", timeout=20)[1]
    assert time.monotonic() - started < 15
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in said
