"""The Status bodies the API answers when it refuses, worded as the real one words them."""

from collections.abc import Iterable

from sandbox.kubernetes.resources import Object, Resource


class ApiError(Exception):
    """A request refused: the HTTP status and the Status object that goes with it."""

    def __init__(self, status: int, body: Object) -> None:
        super().__init__(f"{status} {body.get('reason', '')}: {body.get('message', '')}")
        self.status = status
        self.body = body

    @property
    def reason(self) -> str:
        return str(self.body.get("reason", ""))


def failure(code: int, reason: str, message: str, details: Object | None = None) -> ApiError:
    body: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    if reason:
        body["reason"] = reason
    if details is not None:
        body["details"] = details
    return ApiError(code, body | {"code": code})


def about(resource: Resource, name: str, *, kind: str | None = None) -> Object:
    """The `details` of a refusal; `kind` is the plural there, but for validation, which gives the kind."""
    details = {"name": name, "group": resource.group, "kind": kind or resource.plural}
    return {key: value for key, value in details.items() if value}


def not_found(resource: Resource, name: str) -> ApiError:
    return failure(404, "NotFound", f'{resource.qualified} "{name}" not found', about(resource, name))


def unknown_path() -> ApiError:
    return failure(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(resource: Resource, name: str) -> ApiError:
    return failure(409, "AlreadyExists", f'{resource.qualified} "{name}" already exists', about(resource, name))


def conflict(resource: Resource, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return failure(409, "Conflict", message, about(resource, name))


def stale(resource: Resource, name: str) -> ApiError:
    why = "the object has been modified; please apply your changes to the latest version and try again"
    return conflict(resource, name, why)


def precondition_failed(resource: Resource, name: str, why: str) -> ApiError:
    """A delete's precondition; the real one names the kind here, not the plural."""
    message = f'Operation cannot be fulfilled on {resource.qualified_kind} "{name}": {why}'
    return failure(409, "Conflict", message, about(resource, name, kind=resource.kind))


def invalid(resource: Resource, name: str, causes: Iterable[Object]) -> ApiError:
    """422 with one cause per field, as `cause` makes them."""
    found = list(causes)
    errors = [f"{cause['field']}: {cause['message']}" for cause in found]
    text = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]"
    details = about(resource, name, kind=resource.kind) | {"causes": found}
    return failure(422, "Invalid", f'{resource.qualified_kind} "{name}" is invalid: {text}', details)


def version_missing(resource: Resource, name: str) -> ApiError:
    """A PUT that does not say which version it replaces; the real one names the plural here, not the kind."""
    why = invalid_field("metadata.resourceVersion", "0", "must be specified for an update")
    message = f'{resource.qualified} "{name}" is invalid: {why["field"]}: {why["message"]}'
    return failure(422, "Invalid", message, about(resource, name) | {"causes": [why]})


def cause(reason: str, field: str, message: str) -> Object:
    return {"reason": reason, "message": message, "field": field}


def forbidden_field(field: str, why: str) -> Object:
    return cause("FieldValueForbidden", field, f"Forbidden: {why}")


def invalid_field(field: str, value: str, why: str) -> Object:
    return cause("FieldValueInvalid", field, f"Invalid value: {value}: {why}")


def required_field(field: str, why: str) -> Object:
    return cause("FieldValueRequired", field, f"Required value: {why}")


def too_long(field: str, most: int) -> Object:
    return cause("FieldValueTooLong", field, f"Too long: may not be more than {most} bytes")


def unsupported_value(field: str, value: str, supported: Iterable[str]) -> Object:
    listed = ", ".join(f'"{one}"' for one in supported)
    return cause("FieldValueNotSupported", field, f'Unsupported value: "{value}": supported values: {listed}')


def invalid_options(kind: str, found: Object) -> ApiError:
    """422 for the options of a request, such as `DeleteOptions`."""
    message = f'{kind}.meta.k8s.io "" is invalid: {found["field"]}: {found["message"]}'
    return failure(422, "Invalid", message, {"group": "meta.k8s.io", "kind": kind, "causes": [found]})


def patch_not_applicable() -> ApiError:
    """A JSON Patch that fails, by a `test` or by a path: 422 that names no cause."""
    return failure(422, "Invalid", "the server rejected our request due to an error in our request", {})


def bad_request(message: str) -> ApiError:
    return failure(400, "BadRequest", message)


def forbidden(resource: Resource, name: str, why: str, causes: list[Object] | None = None) -> ApiError:
    called = f'"{name}" ' if name else ""
    details = about(resource, name) | ({"causes": causes} if causes else {})
    return failure(403, "Forbidden", f"{resource.qualified} {called}is forbidden: {why}", details)


def unauthorized() -> ApiError:
    return failure(401, "Unauthorized", "Unauthorized")


def method_not_allowed() -> ApiError:
    return failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {})


def unsupported_media_type(accepted: Iterable[str]) -> ApiError:
    listed = ", ".join(accepted)
    message = f"the body of the request was in an unknown format - accepted media types include: {listed}"
    return failure(415, "UnsupportedMediaType", message)


def not_acceptable(why: str) -> ApiError:
    """An answer is not to be had in the form that was asked for."""
    return failure(406, "NotAcceptable", why)


def no_such_media_type(served: Iterable[str]) -> ApiError:
    message = f"406: Not Acceptable\n\nAvailable representations: {', '.join(served)}"
    return failure(406, "NotAcceptable", message, {})


def too_large(most: int) -> ApiError:
    return failure(413, "RequestEntityTooLarge", f"Request entity too large: limit is {most}")


def expired(wanted: int, oldest: int) -> ApiError:
    return failure(410, "Expired", f"too old resource version: {wanted} ({oldest})")


def as_fault(code: int, retry_after: int | None) -> ApiError:
    """What a server in trouble answers with this HTTP status."""
    reason, message = _TROUBLE.get(code, ("", "the server reported an error"))
    details = None if retry_after is None else {"retryAfterSeconds": retry_after}
    return failure(code, reason, message, details)


_TROUBLE = {
    410: ("Expired", "The provided continue parameter is too old"),
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    500: ("InternalError", "Internal error occurred: an error on the server prevented the request from succeeding"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: ("Timeout", "the server was unable to return a response in the time allotted"),
}


def succeeded(resource: Resource, name: str, uid: str) -> Object:
    """The answer to a delete that removed the object."""
    details = about(resource, name) | {"uid": uid}
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
