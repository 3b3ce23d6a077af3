"""The judge `llm`: points by a rubric from a language model, at any OpenAI-compatible endpoint.

`TUNIX_RT_JUDGE_URL`, `TUNIX_RT_JUDGE_MODEL` and `TUNIX_RT_JUDGE_KEY` say where. Model and rubric are part of the
digest. A reply that holds no verdict leaves the item unscored, as does an endpoint that gives none for it.
"""

import hashlib
from pathlib import Path

from pydantic import Field

from tunix_rt.base.errors import BadInput, cut, nearest
from tunix_rt.base.settings import Settings
from tunix_rt.evaluation.judges import llm_prompt
from tunix_rt.evaluation.judges.contract import SHOWN, Choice, Judge, Judgement, Kind, Parameters, Preference, Question
from tunix_rt.evaluation.judges.llm_endpoint import Endpoint, NoReplyError

LONGEST = 100_000  # characters of a prompt and an output that are sent


class Options(Parameters):
    """Who judges, by what, and how patiently."""

    model: str = Field("", description="The model; default: TUNIX_RT_JUDGE_MODEL.")
    rubric: str = Field(
        "reasoning", pattern=r"^[a-z0-9-]{1,40}$", description="Ours, or a file rubrics/NAME.txt in TUNIX_RT_HOME."
    )
    max_tokens: int = Field(2048, ge=64, le=65_536, description="Longest reply.")
    concurrency: int = Field(8, ge=1, le=64, description="Requests at once.")
    seconds: float = Field(60.0, gt=0, le=3_600, description="Time for one attempt.")
    attempts: int = Field(5, ge=1, le=10, description="Attempts for one request.")
    repeat: int = Field(0, ge=0, description="Ask again, apart from the replies that are kept.")


def _rubric(name: str, home: Path) -> str:
    path = home / "rubrics" / f"{name}.txt"
    try:
        return path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        if name in llm_prompt.RUBRICS:
            return llm_prompt.RUBRICS[name]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"The rubric {path} cannot be read: {error}") from None
    known = [*llm_prompt.RUBRICS, *(file.stem for file in path.parent.glob("*.txt"))]
    raise BadInput(f"No rubric named {name!r}.{nearest(name, known)}", hint=f"Write it to {path}.")


def make(options: Options, settings: Settings) -> Judge:
    """The judge by its options.

    Raises:
        BadInput: no endpoint, no model or no such rubric.
    """
    model = options.model or settings.judge_model
    for value, name in ((settings.judge_url, "TUNIX_RT_JUDGE_URL"), (model, "TUNIX_RT_JUDGE_MODEL")):
        if not value:
            raise BadInput(
                f"The judge 'llm' needs {name}.",
                hint="For example TUNIX_RT_JUDGE_URL=https://host/v1 TUNIX_RT_JUDGE_MODEL=name TUNIX_RT_JUDGE_KEY=key",
            )
    rubric = _rubric(options.rubric, settings.home)
    endpoint = Endpoint(
        settings.judge_url,
        settings.judge_key,
        settings.home / "judge-replies",
        options.seconds,
        options.attempts,
        options.concurrency,
    )
    endpoint.address  # noqa: B018  # raises before the first item where it is none
    return judge_at(endpoint, model, rubric, options)


def judge_at(endpoint: Endpoint, model: str, rubric: str, options: Options) -> Judge:
    """The judge at an endpoint."""

    def verdict(ask: llm_prompt.Ask) -> tuple[object, str]:
        request = {"model": model, "messages": ask.messages, "temperature": 0, "max_tokens": options.max_tokens}
        reply = endpoint.ask(request, ask.schema, lambda text: llm_prompt.verdict(text, ask) is not None)
        found = llm_prompt.verdict(reply, ask)
        if found is None:
            raise NoReplyError(f"the reply holds no verdict: {cut(' '.join(reply.split()), 120)!r}")
        return found

    def judge(question: Question, output: str) -> Judgement:
        if not output.strip():
            return Judgement(0.0, "", None, "the output is empty")
        if len(question.prompt) + len(question.expected) + len(output) > LONGEST:
            return Judgement(None, reason=f"longer than {LONGEST:,} characters with its prompt: not sent to the judge")
        try:
            score, reasoning = verdict(
                llm_prompt.points(rubric, question.prompt, question.expected, output, options.repeat)
            )
        except NoReplyError as error:
            return Judgement(None, reason=f"no verdict: {error}")
        assert isinstance(score, int | float), "a verdict has points"
        return Judgement(score / llm_prompt.MOST, f"{score:g} of {llm_prompt.MOST}", "verdict", cut(reasoning, SHOWN))

    def once(question: Question, first: str, second: str) -> str:
        if len(question.prompt) + len(question.expected) + len(first) + len(second) > LONGEST:
            raise NoReplyError(f"longer than {LONGEST:,} characters")
        ask = llm_prompt.better(rubric, question.prompt, question.expected, first, second, options.repeat)
        return str(verdict(ask)[0])

    def pairwise(question: Question, a: str, b: str) -> Choice:
        try:
            said, swapped = once(question, a, b), once(question, b, a)
        except NoReplyError as error:
            return Choice(None, None, f"no verdict: {error}")
        names: dict[str, Preference] = {"first": "a", "second": "b", "tie": "tie"}
        other: dict[str, Preference] = {"first": "b", "second": "a", "tie": "tie"}
        if names[said] != other[swapped]:
            return Choice("tie", False, "the two orders disagree")
        return Choice(names[said], True)

    return Judge(
        "llm",
        "1",
        judge,
        {
            "model": model,
            "rubric": options.rubric,
            "rubric_digest": hashlib.sha256(rubric.encode()).hexdigest(),
            "max_tokens": options.max_tokens,
        },
        concurrency=options.concurrency,
        repeatable=False,
        pairwise=pairwise,
    )


KIND = Kind("llm", "Points by a rubric from a language model (TUNIX_RT_JUDGE_URL, _MODEL, _KEY).", Options, make)
