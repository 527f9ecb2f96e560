"""What a value of ``data.template`` is: a name or a path, with or without tools as text, or a template itself."""

AUTO = "auto"
TOOLS = "+tools"
"""Behind a name or a path: what the template has no place for, calls and descriptions of tools, is written as text."""


def is_template_text(choice: str) -> bool:
    """Whether the value is the text of a template and not the name of one."""
    return "{%" in choice or "{{" in choice


def without_tools(choice: str) -> str:
    """The name or path alone."""
    return choice if is_template_text(choice) else choice.removesuffix(TOOLS)


def template_name(choice: str) -> str:
    """What to call the template in a list of settings, where a whole text has no place."""
    return "edited" if is_template_text(choice) else choice
