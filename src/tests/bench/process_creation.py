"""Process-creation events of Windows, and rules of the forms in public sets.

Generated for measurements: the names are those of programs that such rules name, in random
combinations. A third of the events are about a program that many rules check.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

_TOOLS: Final = (
    "powershell", "cmd", "rundll32", "regsvr32", "mshta", "wscript", "cscript", "certutil", "wmic",
    "schtasks", "net", "net1", "reg", "sc", "bitsadmin", "msbuild", "installutil", "whoami",
    "nltest", "vssadmin", "wevtutil", "bcdedit", "curl", "psexec", "procdump", "svchost", "tasklist",
    "findstr", "forfiles", "control", "msiexec", "hh", "odbcconf", "pcalua", "dsquery", "csc",
)  # fmt: skip
_WORDS: Final = (
    " -enc ", "-nop", "-w hidden", "downloadstring", "iex(", "frombase64string", "/transfer ",
    " -urlcache ", "/create ", " /i:http", "javascript:", "scrobj.dll", " add ", "delete shadows",
    "comsvcs", "minidump", "lsass", "sekurlsa", " user ", " /add", "\\currentversion\\run", "\\temp\\",
    "\\appdata\\roaming\\", "\\users\\public\\", ".ps1", ".vbs", "http://", "https://", "process call create",
    "amsiutils", "set-mppreference", "bypass", " stop ", "config ", "recoveryenabled", " /c ", "echo ",
)  # fmt: skip
_FOLDERS: Final = (
    r"C:\Windows\System32",
    r"C:\Program Files\Vendor",
    r"C:\Users\Public",
    r"C:\Temp",
)
#: The values of a stream that repeats: real ones come from few programs, started again and again.
_REPEATING: Final = 2000


def events(number: int, *, fresh: bool, seed: int = 3) -> Iterator[dict[str, Any]]:
    """Events. ``fresh``: every command line, path and user is new. Else they repeat, few often."""
    rng = random.Random(seed)
    if fresh:
        for index in range(number):
            yield _event(rng, f"{index:06x}")
        return
    pool = [_event(rng, f"{index:06x}") for index in range(_REPEATING)]
    weights = [1 / (rank + 1) for rank in range(len(pool))]
    for choice in rng.choices(pool, weights, k=number):
        yield {
            **choice,
            "ProcessId": rng.randrange(1 << 16),
            "ProcessGuid": f"{rng.getrandbits(64):x}",
        }


def _event(rng: random.Random, name: str) -> dict[str, Any]:
    tool = rng.choice(_TOOLS) if rng.random() < 0.33 else f"app{name}"
    parent = rng.choice(_TOOLS) if rng.random() < 0.33 else f"parent{name}"
    words = "".join(rng.sample(_WORDS, rng.randrange(3))) if rng.random() < 0.33 else ""
    image = rf"{rng.choice(_FOLDERS)}\{name}\{tool}.exe"
    return {
        "EventID": 1,
        "Image": image,
        "OriginalFileName": f"{tool}.exe",
        "CommandLine": rf'"{image}" --session {name} {words} --path D:\data\{name}\in.txt',
        "CurrentDirectory": rf"D:\data\{name}",
        "User": rf"CORP\user-{name}",
        "IntegrityLevel": rng.choice(["Medium", "High", "System"]),
        "ParentImage": rf"{rng.choice(_FOLDERS)}\{name}\{parent}.exe",
        "ParentCommandLine": rf"{parent}.exe -k {name}",
        "Hashes": f"SHA256={rng.getrandbits(256):064x}",
        "ProcessId": rng.randrange(1 << 16),
        "ProcessGuid": f"{rng.getrandbits(64):x}",
        "UtcTime": "2026-01-01 00:00:00.000",
    }


def write_rules(folder: Path, number: int, *, seed: int = 4) -> None:
    """Write rules into a folder, one a file, as public sets have them."""
    rng = random.Random(seed)
    for index in range(number):
        text = yaml.safe_dump(_rule(rng, index), sort_keys=False)
        (folder / f"{index:05}.yml").write_text(text, encoding="utf-8")


def _rule(rng: random.Random, index: int) -> dict[str, Any]:
    tools = rng.sample(_TOOLS, rng.randint(1, 3))
    words = [f"{word}{index if rng.random() < 0.7 else ''}" for word in rng.sample(_WORDS, 4)]
    images = [rf"\{tool}.exe" for tool in tools]
    program = [{"Image|endswith": images}, {"OriginalFileName": [f"{item}.exe" for item in tools]}]
    shape = rng.randrange(8)
    shapes: dict[int, dict[str, Any]] = {
        0: {"img": program, "cli": {"CommandLine|contains": words[:3]}, "condition": "all of *"},
        1: {"img": program, "cli": {"CommandLine|contains|all": words[:2]}, "condition": "img and cli"},
        2: {
            "selection": {"ParentImage|endswith": images, "Image|endswith": rf"\{rng.choice(_TOOLS)}.exe"},
            "filter_main_folder": {"Image|startswith": r"C:\Program Files\Vendor"},
            "condition": "selection and not 1 of filter_main_*",
        },
        3: {
            "selection_one": {"CommandLine|contains": f"{words[0]}{index}"},
            "selection_two": {"CommandLine|contains|all": words[1:3]},
            "condition": "1 of selection_*",
        },
        4: {"selection": {"CommandLine|re": rf"{rng.choice(_TOOLS)}{index}\s+[-/][a-z]{{2,}}"},
            "condition": "selection"},
        5: {
            "img": program,
            "cli": {"CommandLine|contains|windash": f" -{rng.choice(_TOOLS)}{index} "},
            "condition": "img and cli",
        },
        6: {
            "selection": {"Image|endswith": images, "IntegrityLevel": ["System", "High"]},
            "user": {"User|contains": [f"svc{index}", f"adm{index}"]},
            "condition": "selection and user",
        },
        7: {
            "selection": {"ParentImage|endswith": images, "CommandLine|contains": words},
            "filter_optional": {"ParentCommandLine|contains": " -k "},
            "condition": "selection and not filter_optional",
        },
    }  # fmt: skip
    return {
        "title": f"Process rule {index}",
        "id": f"70000000-0000-4000-8000-{index:012}",
        "status": "test",
        "logsource": {"product": "windows", "category": "process_creation"},
        "detection": shapes[shape],
        "level": "medium",
    }
