"""What a Linux desktop is told about the program: its entry in the menu, icon, files and pages for “man”."""

import textwrap

from launcher.environment import ROOT

NAME = "lowrank-studio"
MIME = "application/vnd.lowrank-studio.spec+yaml"


def icon() -> str:
    """The program's icon as SVG."""
    return (ROOT / "installers" / "lowrank-studio.svg").read_text("utf-8")


def desktop_entry(program: str = NAME) -> str:
    """The entry in the menu; ``program`` is what it starts."""
    return textwrap.dedent(f"""\
        [Desktop Entry]
        Type=Application
        Name=Lowrank Studio
        GenericName=Fine-tuning of language models
        GenericName[zh_CN]=语言模型微调
        Comment=Fine-tune language models on your own machine
        Comment[zh_CN]=在自己的电脑上微调语言模型
        Exec="{program}" %F
        Icon={NAME}
        Terminal=false
        Categories=Science;ArtificialIntelligence;
        Keywords=LoRA;QLoRA;fine-tuning;language model;LLM;
        MimeType={MIME};
        StartupNotify=true
        StartupWMClass={NAME}
        """)


def mime_type() -> str:
    """What a spec file is: YAML that begins as our specs do, or is called as they are."""
    return textwrap.dedent(f"""\
        <?xml version="1.0" encoding="UTF-8"?>
        <mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
          <mime-type type="{MIME}">
            <comment>Lowrank Studio spec</comment>
            <comment xml:lang="zh_CN">Lowrank Studio 训练设置</comment>
            <sub-class-of type="application/yaml"/>
            <icon name="{NAME}"/>
            <magic priority="60">
              <match type="string" value="version: 1\\nmodel:" offset="0"/>
            </magic>
            <glob pattern="spec.yaml" weight="60"/>
            <glob pattern="*.lowrank.yaml" weight="60"/>
          </mime-type>
        </mime-info>
        """)


def manual(version: str) -> dict[str, str]:
    """The pages for “man”, by file name; the command line's is made of the verbs that there are."""
    from core.cli.parser import EXIT_CODES, VERBS

    verbs = "\n".join(f".TP\n.B {_roff(verb.name)}\n{_roff(verb.help[:1].upper() + verb.help[1:])}." for verb in VERBS)
    return {
        "lowrank.1": f"""\
.TH LOWRANK 1 "" "Lowrank Studio {version}" "User Commands"
.SH NAME
lowrank \\- fine\\-tune language models on your own machine
.SH SYNOPSIS
.B lowrank
.I VERB
.RI [ OPTIONS ]
.SH DESCRIPTION
Plans, trains, asks and exports LoRA and QLoRA adapters of causal language models, without a window.
Runs that are started here are seen, stopped and resumed in the window, and the other way round.
.SH VERBS
{verbs}
.PP
.B lowrank
.I VERB
.B \\-\\-help
lists the options of a verb.
.SH EXIT STATUS
{_roff(EXIT_CODES.removeprefix("Exit status: "))}
.SH ENVIRONMENT
.TP
.B LOWRANK_HOME
The folder for models, runs and caches.
.SH FILES
.TP
.I ~/.local/share/lowrank\\-studio
Models, runs and caches, unless another folder was chosen.
.SH SEE ALSO
.BR lowrank\\-studio (1)
""",
        "lowrank-studio.1": f"""\
.TH LOWRANK\\-STUDIO 1 "" "Lowrank Studio {version}" "User Commands"
.SH NAME
lowrank\\-studio \\- a desktop studio for fine\\-tuning language models
.SH SYNOPSIS
.B lowrank\\-studio
.RI [ PATH " ...]"
.SH DESCRIPTION
Opens the window. Each
.I PATH
is a model folder, a data file, a spec or a run folder, and is opened in it.
.SH SEE ALSO
.BR lowrank (1)
""",
    }


def _roff(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")
