"""The recipes for Windows and macOS, looked at as far as that goes without those systems."""

import ast
import os
import plistlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import core.cli.folders
from core import __version__
from launcher.package import desktop
from launcher.package.__main__ import APPLICATION, NAME

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "installers" / "windows" / "lowrank-studio.iss"
SPEC = ROOT / "studio.spec"
STAND_INS = Path(__file__).with_name("inno_stand_ins.pas")

# What Inno Setup 6.3 knows of the sections that the script has (ISHelp/isetup.xml).
PARAMETERS = {
    "Languages": {"Name", "MessagesFile"},
    "Tasks": {"Name", "Description", "GroupDescription", "Flags", "Check"},
    "Files": {"Source", "DestDir", "Flags", "Tasks", "Check"},
    "InstallDelete": {"Type", "Name", "Tasks"},
    "Icons": {"Name", "Filename", "Parameters", "WorkingDir", "IconFilename", "AppUserModelID", "Tasks", "Flags"},
    "Registry": {"Root", "Subkey", "ValueType", "ValueName", "ValueData", "Flags", "Tasks"},
    "Run": {"Filename", "Parameters", "Description", "Flags", "Tasks"},
}
FLAGS = {
    "Tasks": {"unchecked", "checkedonce", "exclusive", "restart"},
    "Files": {"ignoreversion", "recursesubdirs", "createallsubdirs"},
    "Registry": {"uninsdeletekey", "uninsdeletevalue", "uninsdeletekeyifempty"},
    "Run": {"nowait", "postinstall", "skipifsilent", "unchecked", "shellexec"},
}
DIRECTIVES = {
    "AppId", "AppName", "AppVersion", "AppPublisher", "DefaultDirName", "DefaultGroupName", "DisableDirPage",
    "DisableProgramGroupPage", "PrivilegesRequired", "ArchitecturesAllowed", "ArchitecturesInstallIn64BitMode",
    "MinVersion", "LicenseFile", "OutputDir", "OutputBaseFilename", "UninstallDisplayIcon", "Compression",
    "LZMANumBlockThreads", "SolidCompression", "DiskSpanning", "ChangesAssociations", "ChangesEnvironment",
    "CloseApplications", "WizardStyle",
}  # fmt: skip
ITS_OWN_MESSAGES = {"CreateDesktopIcon", "LaunchProgram"}


def sections() -> dict[str, list[str]]:
    """The lines of each section, without comments and what the preprocessor takes."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in SCRIPT.read_text("ascii").splitlines():
        head = re.fullmatch(r"\[(\w+)\]", line.strip())
        if head is not None:
            name = head.group(1)
            found[name] = []
        elif name and line.strip() and (name == "Code" or not line.lstrip().startswith((";", "#"))):
            found[name].append(line)
    return found


def entries(section: str) -> Iterator[dict[str, str]]:
    """The parameters of each line of a section; quotes are doubled inside quotes."""
    for line in sections()[section]:
        found = re.findall(r'(\w+):\s*("(?:[^"]|"")*"|[^;"]*)(?:;|$)', line)
        rest = re.sub(r'(\w+):\s*("(?:[^"]|"")*"|[^;"]*)(?:;|$)', "", line)
        assert not rest.strip(), line
        yield {name: re.sub(r'^"(.*)"$', r"\1", value.strip()).replace('""', '"') for name, value in found}


def code() -> str:
    return "\n".join(sections()["Code"])


# --- Windows


def test_the_script_is_plain_letters_and_known_words() -> None:
    found = sections()
    assert set(found) == {*PARAMETERS, "Setup", "CustomMessages", "Code"}
    for section, known in PARAMETERS.items():
        for entry in entries(section):
            assert set(entry) <= known, (section, entry)
            assert set(entry.get("Flags", "").split()) <= FLAGS.get(section, set()), (section, entry)
    setup = dict(line.split("=", 1) for line in found["Setup"])
    assert set(setup) <= DIRECTIVES
    assert setup["PrivilegesRequired"] == "lowest", "nobody is asked for an administrator"
    assert re.fullmatch(r"\{\{[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\}", setup["AppId"])


def test_what_the_script_speaks_of_is_there() -> None:
    text = SCRIPT.read_text("ascii")
    tasks = {entry["Name"] for entry in entries("Tasks")}
    named = [word for section in PARAMETERS for entry in entries(section) for word in entry.get("Tasks", "").split()]
    assert {*named, *re.findall(r"WizardIsTaskSelected\('(\w+)'\)", text)} == tasks
    said = {re.split(r"[.=]", line)[1] for line in sections()["CustomMessages"]}
    asked = {*re.findall(r"\{cm:(\w+)", text), *re.findall(r"CustomMessage\('(\w+)'\)", text)}
    assert asked - ITS_OWN_MESSAGES == said
    places = re.findall(r"\{#SourcePath\}\\([^\s\"]+)", text)
    assert places
    for place in places:
        path = (SCRIPT.parent / place.replace("\\", "/")).resolve()
        assert path.is_file() or path == ROOT / "dist", place
    for module in re.findall(r"-m ([\w.]+)", code()):
        assert module == core.cli.folders.__name__


def test_the_script_starts_the_programs_that_the_build_makes() -> None:
    tree = ast.parse(SPEC.read_text("utf-8"))
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "program"
    ]
    made = {str(ast.literal_eval(call.args[0])) for call in calls}
    assert made == {NAME, "lowrank"}
    started = set(re.findall(r"\{app\}\\([\w-]+)\.exe", SCRIPT.read_text("ascii")))
    assert started == made
    assert {entry["Name"] for entry in entries("InstallDelete")} == {"{app}\\_internal"}, "where PyInstaller puts parts"


def test_all_systems_open_the_same_files_with_the_same_program() -> None:
    opened = {
        entry["Subkey"].split("\\")[2].lstrip(".")
        for entry in entries("Registry")
        if entry["Subkey"].endswith("OpenWithProgids")
    }
    (extensions,) = re.findall(r'"CFBundleTypeExtensions": (\[.*?\])', SPEC.read_text("utf-8"))
    patterns = re.findall(r'glob pattern="([^"]+)"', desktop.mime_type())
    assert opened == set(ast.literal_eval(extensions)) == {"yaml", "yml"}
    assert {pattern.rpartition(".")[2] for pattern in patterns} <= opened
    (command,) = [entry["ValueData"] for entry in entries("Registry") if entry["Subkey"].endswith("command")]
    assert command == f'"{{app}}\\{NAME}.exe" "%1"'
    assert [entry["AppUserModelID"] for entry in entries("Icons") if "AppUserModelID" in entry] == [desktop.NAME]


def test_the_code_of_the_script_keeps_to_its_language() -> None:
    text = re.sub(r"\{[^}]*\}|'[^']*'", "", code()).lower()
    reserved = {"program", "unit", "label", "object", "class", "private", "exports", "interface", "implementation"}
    assert not reserved & set(re.findall(r"\w+", text))
    words = re.findall(r"\b(begin|try|case|end)\b", text)
    assert words.count("end") == len(words) - words.count("end")


def test_the_code_of_the_script_compiles_and_takes_the_path_apart(tmp_path: Path) -> None:
    compiler = shutil.which("fpc")
    if compiler is None:
        pytest.skip(
            "Free Pascal, which reads nearly the same language, is not installed (Debian: apt install fp-compiler)"
        )
    source = tmp_path / "check.pas"
    source.write_text(STAND_INS.read_text("ascii").replace("{ THE SCRIPT }", code()))
    built = subprocess.run([compiler, "-v0e", source.name], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout
    done = subprocess.run([str(tmp_path / "check")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout


# --- macOS


class Mac:
    """A folder with an application, and tools that only write down how they were called."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.application = place / "dist" / APPLICATION
        (self.application / "Contents" / "MacOS").mkdir(parents=True)
        (self.application / "Contents" / "MacOS" / NAME).write_text("program")
        self.calls = place / "calls.txt"
        tools = place / "tools"
        tools.mkdir()
        for name in ("codesign", "hdiutil", "xcrun"):
            made = 'for last; do :; done; : > "$last"' if name == "hdiutil" else ":"
            look = 'ls "$5" >> "$CALLS"' if name == "hdiutil" else ":"
            (tools / name).write_text(f'#!/bin/sh\necho "{name} $*" >> "$CALLS"\n{look}\n{made}\n')
            (tools / name).chmod(0o755)
        self.env = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(self.calls), "TMPDIR": str(place)}

    def make(self, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
        script = str(ROOT / "installers" / "macos" / "make_dmg.sh")
        return subprocess.run(["sh", script, *arguments], env=self.env | more, capture_output=True, text=True)

    @property
    def said(self) -> str:
        return self.calls.read_text() if self.calls.exists() else ""


@pytest.fixture
def mac(tmp_path: Path) -> Mac:
    if sys.platform == "win32":
        pytest.skip("the script is for a POSIX shell")
    return Mac(tmp_path)


def test_the_image_is_signed_made_and_notarized(mac: Mac) -> None:
    done = mac.make(str(mac.application), __version__, SIGN_AS="Developer ID Application: X", NOTARY_PROFILE="studio")
    assert done.returncode == 0, done.stderr
    image = Path(done.stdout.strip())
    assert image.parent == mac.application.parent
    assert re.fullmatch(rf"{NAME}-{re.escape(__version__)}-macos-\w+\.dmg", image.name)
    assert image.exists()
    calls = mac.said.splitlines()
    assert calls[0].startswith("codesign --force --deep --options runtime --sign Developer ID Application: X")
    (entitlements,) = re.findall(r"--entitlements (\S+)", calls[0])
    assert all(value is True for value in plistlib.loads(Path(entitlements).read_bytes()).values())
    assert calls[1].startswith("codesign --verify")
    assert {"Applications", APPLICATION, "Command line.txt"} <= set(calls)
    assert calls[-2].startswith("xcrun notarytool submit ")
    assert calls[-1] == f"xcrun stapler staple {image}"
    assert not list(mac.place.glob("tmp.*")), "the stage is gone"


def test_without_a_certificate_it_is_signed_for_this_mac_alone(mac: Mac) -> None:
    done = mac.make(str(mac.application), "9.9")
    assert done.returncode == 0, done.stderr
    assert "--sign - " in mac.said
    assert "xcrun" not in mac.said
    again = mac.make(str(mac.application), "9.9")
    assert again.returncode == 1
    assert "exists already" in again.stderr


def test_what_is_no_application_is_refused(mac: Mac) -> None:
    for arguments in ((), (str(mac.application),), (str(mac.place), "1")):
        done = mac.make(*arguments)
        assert done.returncode == 1
        assert done.stderr.startswith("make_dmg.sh: ")
    assert mac.said == ""


def test_the_application_says_what_it_is() -> None:
    text = SPEC.read_text("utf-8")
    assert f'name="{APPLICATION}"' in text
    assert "version=__version__" in text
    assert re.search(r'bundle_identifier="org\.[\w.]+"', text)


# --- Linux


def test_the_pages_for_man_and_the_type_of_specs_are_read_by_their_programs(tmp_path: Path) -> None:
    if shutil.which("groff"):
        for name, text in desktop.manual(__version__).items():
            command = ["groff", "-man", "-ww", "-z", "-Tutf8"]
            done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
            assert done.stderr == "", name
    update = shutil.which("update-mime-database")
    if update is None:
        pytest.skip("update-mime-database (shared-mime-info) is not installed")
    (tmp_path / "packages").mkdir()
    (tmp_path / "packages" / f"{NAME}.xml").write_text(desktop.mime_type(), "utf-8")
    done = subprocess.run([update, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{desktop.MIME}:*.lowrank.yaml" in (tmp_path / "globs2").read_text("utf-8")
