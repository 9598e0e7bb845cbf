"""Flywheel inside the LiteLLM proxy: route requests for `auto`, and have answered requests collected.

Needs litellm and the httpx that comes with it, but nothing of Flywheel: copy this file next to LiteLLM's
configuration. docs/integrations.md tells how to set it up.
"""

import logging
from typing import Any

import httpx
from litellm.integrations.custom_logger import CustomLogger

logger = logging.getLogger(__name__)

MARK_HEADER = "x-flywheel-collect"
"""Header on Flywheel's own calls, which must not be collected again."""

_PASSED_ON = ("x-request-id", "x-training-mode")
"""Headers by which a client influences whether its request is collected."""

_CHAT = frozenset(("completion", "acompletion"))


class FlywheelCallback(CustomLogger):  # type: ignore[misc] # litellm is not installed where types are checked
    """Asks Flywheel's gateway which model should answer, and reports the answers to it.

    address: the gateway's, such as `http://127.0.0.1:8001`; key: `<key_id>.<secret>`, if the gateway requires
    one; automatic: the model names that leave the choice to Flywheel; timeout: longest time for one call to
    the gateway, in seconds.

    The names in LiteLLM's `model_list` must be those of the gateway's `models`. Nothing here ever fails a
    request: if the gateway does not answer, the model `fallback` does, and requests that cannot be collected
    are logged.
    """

    def __init__(
        self,
        address: str,
        *,
        fallback: str,
        key: str | None = None,
        automatic: frozenset[str] = frozenset({"auto"}),
        timeout: float = 2.0,
    ) -> None:
        super().__init__()
        self._address = address.rstrip("/")
        self._fallback = fallback
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._automatic = automatic
        self._timeout = timeout
        self._client: httpx.AsyncClient | None = None

    async def async_pre_call_hook(
        self, user_api_key_dict: Any, cache: Any, data: dict[str, Any], call_type: str
    ) -> dict[str, Any]:
        """Insert the model that Flywheel chooses into a request that leaves the choice open."""
        if data.get("model") not in self._automatic or not isinstance(data.get("messages"), list):
            return data
        decision = await self._post("/v1/route", {"messages": data["messages"]})
        chosen = decision.get("model")
        data["model"] = chosen if isinstance(chosen, str) else self._fallback
        if "decision_id" in decision:
            data.setdefault("metadata", {})["flywheel_decision_id"] = decision["decision_id"]
        return data

    async def async_log_success_event(
        self, kwargs: dict[str, Any], response_obj: Any, start_time: Any, end_time: Any
    ) -> None:
        """Report an answered chat completion to Flywheel; LiteLLM calls this after it has answered.

        An answer from LiteLLM's cache is not reported: it says nothing new, and how fast the cache is, not the model.
        """
        log = kwargs.get("standard_logging_object") or {}
        parameters = kwargs.get("litellm_params") or {}
        headers = _headers_of(parameters)
        if log.get("call_type") not in _CHAT or log.get("cache_hit") or MARK_HEADER in headers:
            return
        message = response_obj.choices[0].message
        observed = {
            "request": {**(log.get("model_parameters") or {}), "messages": kwargs["messages"]},
            "model": log.get("model_group") or kwargs["model"],
            "answer": message.content,
            "finish_reason": response_obj.choices[0].finish_reason,
            "latency_ms": (end_time - start_time).total_seconds() * 1000,
            "decision_id": (parameters.get("metadata") or {}).get("flywheel_decision_id"),
        }
        usage = getattr(response_obj, "usage", None)
        if usage is not None:
            observed["usage"] = usage.model_dump(mode="json")
        passed_on = {name: headers[name] for name in _PASSED_ON if name in headers}
        await self._post("/v1/observe", observed, passed_on)

    async def _post(
        self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Return the gateway's JSON response, empty if there is none."""
        if self._client is None:
            self._client = httpx.AsyncClient(headers=self._headers, timeout=self._timeout, trust_env=False)
        try:
            answer = await self._client.post(self._address + path, json=body, headers=headers)
            answer.raise_for_status()
            value = answer.json()
            if not isinstance(value, dict):
                raise ValueError("its answer is not a JSON object")
            return value
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            logger.warning("Flywheel did not answer %s: %s", path, error)
            return {}


def _headers_of(parameters: dict[str, Any]) -> dict[str, str]:
    """Return the headers of the proxied request, with lower-case names."""
    request = parameters.get("proxy_server_request") or {}
    return {str(name).lower(): str(value) for name, value in (request.get("headers") or {}).items()}
