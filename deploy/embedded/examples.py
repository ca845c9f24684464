"""What to try once everything runs: lines to copy, that work as they stand."""

from collections.abc import Mapping
from pathlib import Path

KEY = "GATEWAY_ADMIN_KEY"
TEXT = """
ready: {url}
Open it in a browser to watch.
{about_key}
Three things to try, in another terminal:

  curl -s {url}/complete{header} -H 'content-type: application/json' -d '{{"prompt": "What is 2 + 2?"}}'

  .venv/bin/python -c 'import os; from openai import OpenAI; print(OpenAI(base_url="{url}/v1", api_key={key}).chat.completions.create(model="auto", messages=[{{"role": "user", "content": "Name three rivers."}}]).choices[0].message.content)'

  curl -s {url}/routing/metrics{header}

Ctrl-C stops everything; the data stays in {data}.
"""  # noqa: E501 - lines to copy
ABOUT_KEY = f"""
{KEY} is set, so every client needs a key. The lines below expect it in the shell:

  export {KEY}=$(sed -n 's/^{KEY}=//p' .env)
"""


def is_keyed(user: Mapping[str, str]) -> bool:
    """Tell whether the gateway asks for keys."""
    return bool(user.get(KEY))


def examples(url: str, data: Path, *, keyed: bool) -> str:
    """Return what is printed when the gateway at *url* is ready."""
    return TEXT.format(
        url=url,
        about_key=ABOUT_KEY if keyed else "",
        header=f' -H "authorization: Bearer ${KEY}"' if keyed else "",
        key=f'os.environ["{KEY}"]' if keyed else '"none"',
        data=data,
    )
