"""What the environment says, and the files that it names: addresses and tokens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from bot.settings_file import wording
from bot.written import WebAddress, as_database_address

SLACK_API_URL = "https://slack.com/api/"
BOT_TOKENS = ("xoxb-", "xoxe.xoxb-")
APP_TOKENS = ("xapp-",)


class _Environment(BaseSettings):
    model_config = {"extra": "ignore", "frozen": True, "hide_input_in_errors": True}

    slack_bot_token: SecretStr | None = None
    slack_bot_token_file: Path | None = None
    slack_app_token: SecretStr | None = None
    slack_app_token_file: Path | None = None
    slack_api_url: Annotated[str, WebAddress] = SLACK_API_URL
    tml_bot_database_url: Annotated[SecretStr | None, BeforeValidator(as_database_address)] = None
    kubeconfig: str | None = None


class _Given(EnvSettingsSource):
    """The environment that was handed in, instead of the process's own; an empty variable is none."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        super().__init__(settings_cls)
        self.env_vars = {name.lower(): value for name, value in environ.items() if value.strip()}


def _environment_of(environ: Mapping[str, str]) -> _Environment:
    class Reading(_Environment):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            *_usual: PydanticBaseSettingsSource,
            **_named: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (_Given(settings_cls, environ),)

    return Reading()


def read_environment(environ: Mapping[str, str], problems: list[str]) -> _Environment:
    """What is right in the environment; a wrong variable is a problem and counts as left out."""
    try:
        return _environment_of(environ)
    except ValidationError as error:
        wrong = {str(details["loc"][0]).upper(): wording((), details) for details in error.errors(include_url=False)}
    problems.extend(f"{name}: {said}" for name, said in wrong.items())
    return _environment_of({name: value for name, value in environ.items() if name.upper() not in wrong})


def read_token(
    name: str, value: SecretStr | None, file: Path | None, prefixes: tuple[str, ...], problems: list[str]
) -> SecretStr:
    """The token from the variable ``name`` or the file that ``name``_FILE names; the text of neither is ever told."""
    if value is not None and file is not None:
        problems.append(f"{name}: set together with {name}_FILE; set one of the two")
    elif value is None and file is None:
        problems.append(f"{name}: not set; set it to the token, or {name}_FILE to a file that holds it")
    token = _secret_in(file, f"{name}_FILE", problems) if value is None and file is not None else value
    if token is not None and not token.get_secret_value().strip().startswith(prefixes):
        problems.append(f"{name}: expected a token that begins with {prefixes[0]}")
    return SecretStr(token.get_secret_value().strip()) if token else SecretStr("")


def _secret_in(file: Path, variable: str, problems: list[str]) -> SecretStr | None:
    try:
        return SecretStr(file.read_text(encoding="utf-8"))
    except OSError as error:
        problems.append(f"{variable}: the file it names cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        problems.append(f"{variable}: the file it names is no text")
    return None
