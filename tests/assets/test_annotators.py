"""Annotators: each document once, never paid twice, none lost; the key stays where it is."""

import json
import logging
import signal
from pathlib import Path

import pytest

from codeft_assets.annotators.annotate import annotate_questions
from codeft_assets.annotators.calls import Totals, open_journal
from codeft_assets.annotators.endpoint import KEY_VARIABLE, MAX_ATTEMPTS, EndpointAnnotator
from codeft_assets.base.answers import AnswerStore
from codeft_assets.base.calls import ANSWERED, FAILED, REFUSED, SENT, Reply
from codeft_assets.origins.errors import GatedUpstreamError, MissingUpstreamError, UnreachableUpstreamError
from tests.assets.fake_endpoint import (
    BROKEN,
    BUSY,
    CUT,
    GOOD,
    NO_JSON,
    NONSENSE,
    TROUBLES,
    Endpoint,
    annotate,
    kill_half_way,
    questions,
    serving,
)

NUM = 64
NEVER_ANSWERED = {number for number in range(NUM) if TROUBLES[number % len(TROUBLES)] == [NONSENSE, NO_JSON]}
SECRET = "sk-never-shown-1234567890"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def well_formed(path):
    with AnswerStore(path) as store:
        return [key for key, value in store.all(ANSWERED) if '"label"' in json.loads(value)["content"]]


def on_disk(path):
    """Return the bytes of the store, those that wait in its write-ahead log among them."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(f"{path.name}*")))


def test_killed_half_way_and_resumed_each_document_is_labeled_at_most_once_and_none_is_lost(path, capsys):
    endpoint = Endpoint()
    with serving(endpoint) as url:
        assert kill_half_way(endpoint, url, path, NUM) == -signal.SIGKILL
        at_kill = len(well_formed(path))
        assert 0 < at_kill < NUM - len(NEVER_ANSWERED)
        sent, found, totals = annotate(url, path, NUM)
    names = {question.key: int(question.name.removeprefix("document-")) for question in sent}
    labeled = {names[key]: annotation.label for key, annotation in found.found.items()}
    assert labeled == {number: number % 6 for number in range(NUM) if number not in NEVER_ANSWERED}
    assert {names[key] for key in found.left_out} == NEVER_ANSWERED
    assert len(well_formed(path)) == len(set(well_formed(path))) == len(labeled)
    # an answer that was on its way at the kill is the only one the endpoint may give twice
    assert sum(num - 1 for num in endpoint.labeled.values()) <= totals.num_unanswered <= 4
    assert totals.num_calls - 4 <= sum(endpoint.calls.values()) <= totals.num_calls
    with capsys.disabled():
        print(f"\n{NUM} documents, {len(labeled)} labels, {at_kill} before the kill; {totals}")


def test_an_answered_question_is_never_sent_again(path):
    endpoint = Endpoint()
    with serving(endpoint) as url:
        _, first, totals = annotate(url, path, NUM)
        num_calls = sum(endpoint.calls.values())
        _, second, again = annotate(url, path, NUM)
    assert second == first
    assert (sum(endpoint.calls.values()), again) == (num_calls, totals)
    assert totals.num_calls == num_calls
    assert totals.num_unanswered == 0


def test_a_malformed_answer_is_counted_requested_once_more_and_left_out_by_name(path):
    endpoint = Endpoint(lambda number: ([NONSENSE], [NONSENSE, NO_JSON, NONSENSE], [GOOD])[number])
    with serving(endpoint) as url:
        sent, found, totals = annotate(url, path, 3)
    assert totals.num_malformed == 3
    assert [endpoint.calls[number] for number in range(3)] == [2, 2, 1]
    assert {question.name for question in sent if question.key in found.left_out} == {"document-1"}
    assert found.left_out[sent[1].key][0] == "malformed_answer"


def test_tokens_are_counted_and_missing_usage_is_not_zero(path):
    endpoint = Endpoint(lambda number: [NO_JSON] if number else [GOOD])
    with serving(endpoint) as url:
        _, _, totals = annotate(url, path, 2)
    assert (totals.input_tokens, totals.output_tokens) == (200, 40)
    assert (totals.num_calls, totals.num_failed, totals.num_answers_without_usage) == (3, 0, 1)


@pytest.mark.parametrize("limit", [1, 3])
def test_no_more_calls_than_allowed_are_in_flight(path, limit):
    endpoint = Endpoint(lambda number: ["slow"])
    endpoint.release.wait = lambda seconds: type(endpoint.release).wait(endpoint.release, seconds / 20)
    with serving(endpoint) as url:
        annotate(url, path, 24, concurrency=limit)
    assert endpoint.most_in_flight <= limit


def annotate_with_waits(url, path, num=1, **changes):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    annotator = EndpointAnnotator(url=url, model="fake", sleep=sleep, **changes)
    with open_journal(path) as journal:
        return annotate_questions(questions(num), annotator, journal), waits


def test_retry_after_is_honored(path, monkeypatch):
    monkeypatch.setattr("codeft_assets.annotators.endpoint.retry_after_seconds", lambda value: 17.0 if value else None)
    with serving(Endpoint(lambda number: [BUSY])) as url:
        found, waits = annotate_with_waits(url, path)
    assert len(found.found) == 1
    assert waits == [pytest.approx(17, abs=1)]


def test_without_a_stated_wait_each_wait_is_longer(path):
    with serving(Endpoint(lambda number: [BROKEN, CUT, BROKEN])) as url:
        _, waits = annotate_with_waits(url, path)
    assert [0.5 * 2**i <= wait <= 2**i for i, wait in enumerate(waits)] == [True] * 3


def test_an_endpoint_that_stays_broken_ends_the_run_and_keeps_the_answers(path):
    endpoint = Endpoint(lambda number: [BROKEN] * MAX_ATTEMPTS if number == 3 else [GOOD])
    with serving(endpoint) as url:
        with pytest.raises(UnreachableUpstreamError, match="about document-3, last with: status 500") as caught:
            annotate_with_waits(url, path, 5, max_concurrency=1)
        assert caught.value.retryable
        assert endpoint.calls[4] == 0
        found, _ = annotate_with_waits(url, path, 5)
    assert len(found.found) == 5
    assert {number: endpoint.labeled[number] for number in range(5)} == dict.fromkeys(range(5), 1)


def test_nobody_there_is_unreachable(path):
    with pytest.raises(UnreachableUpstreamError, match="ConnectError"):
        annotate_with_waits("http://127.0.0.1:9/v1", path)


class Refusing(Endpoint):
    """Answers with ``status`` and repeats the key, as services do."""

    def __init__(self, status):
        super().__init__()
        self.status = status

    def send(self, handler, trouble, number):
        from tests.assets.fake_endpoint import label, reply

        refused = number % 2 == 0
        said = f"bad key or request: {handler.headers['Authorization']}".encode()
        reply(handler, self.status if refused else 200, said if refused else label(number))


@pytest.mark.parametrize(("status", "error"), [(401, GatedUpstreamError), (404, MissingUpstreamError)])
def test_the_key_is_sent_and_shown_nowhere(path, monkeypatch, caplog, status, error):
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    caplog.set_level(logging.DEBUG)
    endpoint = Refusing(status)
    with serving(endpoint) as url, pytest.raises(error) as caught:
        annotate_with_waits(url, path, 2)
    assert endpoint.seen[0][1]["Authorization"] == f"Bearer {SECRET}"
    shown = [str(caught.value), caplog.text, repr(EndpointAnnotator(url=url, model="m"))]
    assert SECRET not in "".join(shown)
    assert SECRET.encode() not in on_disk(path)
    assert KEY_VARIABLE in str(caught.value) or status == 404


def test_a_document_the_endpoint_refuses_is_left_out_and_not_sent_again(path, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, SECRET)
    endpoint = Refusing(400)
    with serving(endpoint) as url:
        found, _ = annotate_with_waits(url, path, 4)
        annotate_with_waits(url, path, 4)
    assert sum(endpoint.calls.values()) == 4
    assert sorted(len(part) for part in (found.found, found.left_out)) == [2, 2]
    assert {reason for reason, _ in found.left_out.values()} == {"refused_by_annotator"}
    assert SECRET.encode() not in on_disk(path)


def test_a_reading_has_one_idempotency_key_however_often_it_is_sent(path):
    endpoint = Endpoint(lambda number: [BROKEN, CUT, BUSY])
    with serving(endpoint) as url:
        annotate_with_waits(url, path)
    assert list(endpoint.key_names.values()) == [4]


def test_no_label_at_all_is_a_failure(path):
    with serving(Endpoint(lambda number: [NONSENSE] * 9)) as url:
        with pytest.raises(ValueError, match="none of 2 documents got a label"):
            annotate_with_waits(url, path, 2)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("127.0.0.1:8000", "give the URL of an OpenAI-compatible service"),
        (f"http://me:{SECRET}@127.0.0.1/v1", f"put the key into the environment variable {KEY_VARIABLE}"),
        (f"http://127.0.0.1/v1?key={SECRET}", "carries a user, password or query"),
    ],
)
def test_a_wrong_address_is_refused_without_repeating_a_key(url, message):
    with pytest.raises(ValueError, match=message) as caught:
        EndpointAnnotator(url=url, model="m")
    assert SECRET not in str(caught.value)


def test_totals_cover_every_run(path):
    with open_journal(path) as journal:
        for key in "abcd":
            journal.sent(key)
        journal.answered("a", Reply(content='{"reason": "r", "label": 1}', input_tokens=7, output_tokens=2))
        journal.answered("b", Reply(content="no label"))
        journal.refused("c", "too long")
    with open_journal(path) as journal:
        journal.sent("d")
        journal.failed("d", "status 500")
        assert journal.totals() == Totals(
            num_calls=5, num_malformed=1, num_failed=1, num_unanswered=1, num_answers_without_usage=1,
            input_tokens=7, output_tokens=2,
        )  # fmt: skip
        assert (journal.refusal("c"), journal.refusal("a")) == ("too long", None)


def test_two_runs_never_write_one_journal(path):
    with open_journal(path), pytest.raises(ValueError, match="being written by another run"), open_journal(path):
        pass
    with open_journal(path) as journal:
        assert journal.replies("a") == []


EVENTS = [
    {"event": "sent", "key": "a"},
    {"event": "failed", "key": "a", "cause": "status 500"},
    {"event": "sent", "key": "a"},
    {"event": "answered", "key": "a", "content": "one", "input_tokens": 100, "output_tokens": None},
    {"event": "sent", "key": "b"},
    {"event": "refused", "key": "b", "cause": "too long"},
    {"event": "sent", "key": "a"},
    {"event": "answered", "key": "a", "content": "two", "input_tokens": None, "output_tokens": None},
    {"event": "sent", "key": "c"},
]


def write_jsonl(path, events):
    path.with_suffix(".jsonl").write_text("".join(json.dumps(event) + "\n" for event in events))


def test_a_jsonl_journal_is_imported_once_and_left_as_it_is(path):
    write_jsonl(path, EVENTS)
    before = path.with_suffix(".jsonl").read_bytes()
    for num_answers in (2, 3):
        with open_journal(path) as journal:
            assert [reply.content for reply in journal.replies("a")] == ["one", "two", "three"][:num_answers]
            assert journal.refusal("b") == "too long"
            assert journal.totals() == Totals(
                num_calls=5, num_malformed=num_answers, num_failed=1,
                num_unanswered=3 - num_answers, num_answers_without_usage=num_answers - 1, input_tokens=100,
                output_tokens=0,
            )  # fmt: skip
            if num_answers == 2:
                journal.answered("a", Reply(content="three"))
    assert path.with_suffix(".jsonl").read_bytes() == before


@pytest.mark.parametrize("num_kinds", range(5))
def test_an_import_that_was_killed_is_completed_and_doubles_nothing(path, num_kinds, monkeypatch):
    write_jsonl(path, EVENTS)
    put, kinds = AnswerStore.put, []

    def put_until_killed(store, kind, answers):
        if len(kinds) == num_kinds:
            raise KeyboardInterrupt
        kinds.append(kind)
        put(store, kind, answers)

    monkeypatch.setattr(AnswerStore, "put", put_until_killed)
    with pytest.raises(KeyboardInterrupt), open_journal(path) as journal:
        journal.sent("a")  # the fifth
    monkeypatch.undo()
    with open_journal(path) as journal:
        totals = journal.totals()
        assert [reply.content for reply in journal.replies("a")] == ["one", "two"]
    assert (totals.num_calls, totals.num_failed, totals.num_unanswered) == (5, 1, 1)
    with AnswerStore(path) as store:
        assert [store.count(kind) for kind in (SENT, ANSWERED, FAILED, REFUSED)] == [5, 2, 1, 1]


def test_a_line_cut_off_by_a_crash_is_left_out_of_the_import(path):
    write_jsonl(path, EVENTS)
    content = path.with_suffix(".jsonl").read_bytes()
    for cut in range(0, len(content), 17):
        folder = path.parent / str(cut)
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(content[:cut])
        complete = [json.loads(line) for line in content[:cut].split(b"\n")[:-1]]
        with open_journal(folder / "journal.sqlite") as journal:
            answers = [event["content"] for event in complete if event["event"] == "answered"]
            assert [reply.content for reply in journal.replies("a")] == answers
            assert journal.totals().num_calls == sum(event["event"] == "sent" for event in complete)


@pytest.mark.parametrize("line", ["not json", "[1]", '{"key": "a"}', '{"event": "answered", "key": "a", "text": "x"}'])
def test_a_damaged_line_in_the_middle_is_an_error_that_names_it(path, line):
    path.with_suffix(".jsonl").write_text(f'{{"event": "sent", "key": "a"}}\n{line}\n{{"event": "sent", "key": "b"}}\n')
    with pytest.raises(ValueError, match="line 2 is damaged: b'"), open_journal(path):
        pass


def tiny_model(folder: Path, answer: str) -> str:
    """Write a model whose only answer is ``answer``: every token has the same state, and one token scores highest."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    words = {"[unk]": 0, "[end]": 1, answer: 2}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="[unk]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="[end]").save_pretrained(folder)
    config = Qwen3Config(
        vocab_size=3, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, num_key_value_heads=1, head_dim=8,
        intermediate_size=8, max_position_embeddings=4096, tie_word_embeddings=False, eos_token_id=1,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.ones(3, 8))
        state = model.model(torch.tensor([[0]])).last_hidden_state[0, 0]
        model.lm_head.weight.zero_()
        model.lm_head.weight[2] = state
    model.save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
def test_a_model_on_this_machine_labels_documents(tmp_path, path):
    from codeft_assets.annotators.local_model import LocalModelAnnotator

    model = tiny_model(tmp_path / "model", '{"reason": "always", "label": 2}')
    annotator = LocalModelAnnotator(model=model, batch_prompts=2, max_answer_tokens=1)
    with open_journal(path) as journal:
        found = annotate_questions(questions(5), annotator, journal)
        totals = journal.totals()
    assert [annotation.label for annotation in found.found.values()] == [2] * 5
    assert (totals.num_calls, totals.num_failed, totals.num_unanswered, totals.output_tokens) == (5, 0, 0, 5)
    (tmp_path / "model" / "model.safetensors").unlink()
    with open_journal(path) as journal:  # every answer is there: the model is not loaded again
        again = annotate_questions(questions(5), LocalModelAnnotator(model=model, max_answer_tokens=1), journal)
    assert again == found


def test_a_model_that_is_not_there_is_named(path):
    from codeft_assets.annotators.local_model import LocalModelAnnotator

    with open_journal(path) as journal, pytest.raises(MissingUpstreamError, match="'/no/such/model' cannot be loaded"):
        annotate_questions(questions(1), LocalModelAnnotator(model="/no/such/model"), journal)
