"""A tokenizer folder in the Hugging Face layout: text to ids and back, the chat template, the stop tokens.

Every folder that we write carries a chat template, so that training, generation and whoever loads the folder render
a prompt to the same tokens.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from tunix_rt.base import jsontext
from tunix_rt.base.errors import BadInput, NotFound, cut
from tunix_rt.base.store import whole

FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
    "special_tokens_map.json",
)
"""What a tokenizer folder may hold that decides token ids."""
PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"
PLAIN_TEMPLATE = (
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'user' %}{{ '\\n' }}{% else %}{{ eos_token }}{% endif %}{% endfor %}"
)
"""The prompt on lines of its own, the completion, the stop token: for tokenizers that bring no template."""


class Folder:
    """A tokenizer, loaded from a folder.

    Attributes:
        size: entries of the vocabulary, added tokens included.
        stop: ids that end a completion.
        special: ids of `pad`, `bos`, `eos`, where it has them.
        control: texts that would become control tokens if a prompt held them.
        unknown: id of what it cannot express; None where it can express everything.
        digest: over everything that decides token ids: the tokenizer, the template, the stop tokens.

    Raises:
        NotFound: no such folder.
        BadInput: no tokenizer.json in it, or one that does not load; no token that could end a completion.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "tokenizer.json"
        if not folder.is_dir():
            raise NotFound(f"There is no tokenizer folder {folder}.")
        if not path.exists():
            raise BadInput(
                f"{folder} holds no tokenizer.json.",
                hint="A tokenizer folder has tokenizer.json and tokenizer_config.json; a SentencePiece file is "
                "converted by AutoTokenizer.from_pretrained(...).save_pretrained(...) of transformers.",
            )
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise BadInput(f"{path} is not a tokenizer: {cut(str(error))}") from None
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        config = _json(folder / "tokenizer_config.json")
        self._names = {name: _content(config.get(f"{name}_token")) for name in ("pad", "bos", "eos", "unk")}
        self.size = self._tokenizer.get_vocab_size(with_added_tokens=True)
        self.special = {
            name: found
            for name in ("pad", "bos", "eos")
            if (text := self._names[name]) and (found := self._tokenizer.token_to_id(text)) is not None
        }
        unknown = self._names["unk"]
        self.unknown = self._tokenizer.token_to_id(unknown) if unknown else None
        self.control = sorted(
            token.content for token in self._tokenizer.get_added_tokens_decoder().values() if token.special
        )
        self.stop = self._stop_tokens(folder)
        if not self.stop:
            raise BadInput(
                f"{folder} names no stop token: a model trained with it would never stop.",
                hint="Set eos_token in tokenizer_config.json, or eos_token_id in generation_config.json.",
            )
        self._source = _template(folder, config)
        self._template = _compile(self._source, folder)
        self.digest = self._digest(path)

    def _stop_tokens(self, folder: Path) -> tuple[int, ...]:
        found = {self.special["eos"]} if "eos" in self.special else set()
        for name in ("generation_config.json", "config.json"):
            value = _json(folder / name).get("eos_token_id")
            found |= {item for item in (value if isinstance(value, list) else [value]) if isinstance(item, int)}
        return tuple(sorted(found))

    def _digest(self, path: Path) -> str:
        parts = [path.read_bytes(), self._source.encode(), repr((self.stop, sorted(self._names.items()))).encode()]
        return "sha256:" + hashlib.sha256(b"\0".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()

    @property
    def padding(self) -> int:
        """The id that fills what is left of a row; masked by length everywhere, so its value decides nothing."""
        found: int = self.special.get("pad", 0)
        return found

    def encode(self, text: str) -> list[int]:
        """Token ids of a rendered text; control tokens in it are recognised, none is added."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: list[int]) -> str:
        """The text of token ids, without control tokens; U+FFFD in place of NUL."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=True)
        return text.replace("\0", "\ufffd")  # a byte-level BPE has a token for NUL, which no predictions file may hold

    def piece(self, token: int) -> str:
        """How one token reads."""
        text: str = self._tokenizer.decode([token], skip_special_tokens=False)
        return text

    def render(self, prompt: str, completion: str | None = None) -> str:
        """The conversation as text: up to where the model goes on, or with its completion.

        Raises:
            BadInput: the folder's chat template fails on it.
        """
        messages = [{"role": "user", "content": prompt}]
        if completion is not None:
            messages.append({"role": "assistant", "content": completion})
        names = {f"{name}_token": text or "" for name, text in self._names.items()}
        try:
            return self._template.render(messages=messages, add_generation_prompt=completion is None, **names)
        except (jinja2.TemplateError, TypeError, ValueError) as error:
            raise BadInput(f"The tokenizer's chat template fails: {cut(str(error))}") from None


def train(texts: Iterable[str], kind: str, vocab_size: int, folder: Path) -> None:
    """Train a tokenizer on texts and write its folder.

    Args:
        texts: what it must express; read once.
        kind: `character` (each character a token) or `bpe` (byte pairs, digits one by one).
        vocab_size: entries of a BPE; a character tokenizer has as many as it needs.
        folder: where to write tokenizer.json and tokenizer_config.json.
    """
    if kind == "character":
        characters = sorted(set().union(*map(set, texts)))
        vocabulary = {token: number for number, token in enumerate([PAD, EOS, UNKNOWN, *characters])}
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
        tokenizer.add_special_tokens([PAD, EOS, UNKNOWN])
        names = {"pad_token": PAD, "eos_token": EOS, "unk_token": UNKNOWN}
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        tokenizer.train_from_iterator(
            texts,
            trainers.BpeTrainer(
                vocab_size=max(vocab_size, len(alphabet) + 2),
                special_tokens=[PAD, EOS],
                initial_alphabet=sorted(alphabet),
                show_progress=False,
            ),
        )
        names = {"pad_token": PAD, "eos_token": EOS}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        **names,
        "clean_up_tokenization_spaces": False,
        "chat_template": PLAIN_TEMPLATE,
    }
    folder.mkdir(parents=True, exist_ok=True)
    with whole(folder / "tokenizer.json") as file:
        file.write(tokenizer.to_str(pretty=False).encode())
    with whole(folder / "tokenizer_config.json") as file:
        file.write(jsontext.dumps(config))


def _json(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        value = jsontext.loads(path.read_bytes())
    except jsontext.NotJson as error:
        raise BadInput(f"{path}: {error.detail}") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path}: not a JSON object.")
    return value


def _content(token: Any) -> str | None:
    if isinstance(token, dict):
        token = token.get("content")
    return token if isinstance(token, str) else None


def _template(folder: Path, config: dict[str, Any]) -> str:
    path = folder / "chat_template.jinja"
    if path.exists():
        return path.read_text(encoding="utf-8")
    found = config.get("chat_template")
    if isinstance(found, list):
        named = {item.get("name"): item.get("template") for item in found if isinstance(item, dict)}
        found = named.get("default")
    if isinstance(found, str):
        return found
    return "{{ bos_token }}" + PLAIN_TEMPLATE


def _compile(source: str, folder: Path) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])

    def refuse(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment.globals["raise_exception"] = refuse
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise BadInput(f"The chat template of {folder} does not parse: {cut(str(error))}") from None
