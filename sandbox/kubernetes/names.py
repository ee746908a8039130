"""Which names, namespaces and labels are valid, in the words of the real API server."""

import random
import re

from sandbox.kubernetes import status
from sandbox.kubernetes.resources import NAMESPACES, SERVICES, Object, Resource

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SERVICE = r"[a-z]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_VALUE = r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?"
_QUALIFIED = r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"

_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    f"and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    f"with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '{_LABEL}')"
)
_SERVICE_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, "
    "and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is "
    f"'{_SERVICE}')"
)
_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'{_VALUE}')"
)
_QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)

# pattern, greatest length, rule; whatever is not listed takes a DNS subdomain
_NAMES = {NAMESPACES: (_LABEL, 63, _LABEL_RULE), SERVICES: (_SERVICE, 63, _SERVICE_RULE)}
_ANY_NAME = (_SUBDOMAIN, 253, _SUBDOMAIN_RULE)


def generated_name(prefix: str) -> str:
    """A name for `generateName`: the prefix, cut if need be, and five letters that form no words."""
    return prefix[:58] + "".join(random.choices(_SUFFIX_LETTERS, k=5))


def name_causes(resource: Resource, name: str) -> list[Object]:
    if not name:
        return [status.required_field("metadata.name", "name or generateName is required")]
    pattern, longest, rule = _NAMES.get(resource, _ANY_NAME)
    return _causes("metadata.name", name, pattern, longest, rule)


def label_causes(metadata: Object) -> list[Object]:
    found: list[Object] = []
    for key, value in (metadata.get("labels") or {}).items():
        found += _key_causes("metadata.labels", key)
        found += _causes("metadata.labels", str(value), _VALUE, 63, _VALUE_RULE)
    for key in metadata.get("annotations") or {}:
        found += _key_causes("metadata.annotations", key)
    return found


def _key_causes(field: str, key: str) -> list[Object]:
    prefix, slash, name = key.rpartition("/")
    found = _causes(field, name, _QUALIFIED, 63, _QUALIFIED_RULE, shown=key)
    if slash:
        found += _causes(field, prefix, _SUBDOMAIN, 253, f"prefix part {_SUBDOMAIN_RULE}", shown=key)
    return found


def _causes(field: str, text: str, pattern: str, longest: int, rule: str, shown: str | None = None) -> list[Object]:
    quoted = f'"{text if shown is None else shown}"'
    found = []
    if len(text) > longest:
        found.append(status.invalid_field(field, quoted, f"must be no more than {longest} characters"))
    if not re.fullmatch(pattern, text):
        found.append(status.invalid_field(field, quoted, rule))
    return found
