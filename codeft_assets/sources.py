"""The catalogue: every dataset we use, one entry each. This is the one place to add a source.

To add one: write its entry here and a few rows in upstream's shape as ``samples/<name>.jsonl``. Nothing else. Your own
files need no entry here: ``own_sources.py`` reads theirs from a TOML file.
Shapes, sizes and traps of each upstream come from its card and viewer; a column that neither confirms is given as
a tuple of names to try. The fields of an entry are in ``source.py``.
"""

from __future__ import annotations

from codeft_assets.curation.ingest import adapters, free_text
from codeft_assets.curation.ingest.adapters import PlainText, PromptResponse
from codeft_assets.curation.quality.thresholds import Threshold
from codeft_assets.origins import ComposedExercisesOrigin, HttpFileOrigin, HubOrigin, JinaReaderOrigin, LocalCodeOrigin
from codeft_assets.own_sources import own_sources, taught_sources
from codeft_assets.source import Source, sources_by_name

_ENTRIES = (
    Source(
        name="code-review",
        about="A Code Review exchange in Markdown: a program and what reviewers say of it.",
        origin=HubOrigin(repo_id="VatsaDev/code-review"),
        adapter=PlainText(columns=("text", "content", "markdown")),
        domain="code",
        format="review",
        license="MIT tag; content CC-BY-SA-4.0",  # the tag is MIT, the text is Stack Exchange's
        homepage="https://huggingface.co/datasets/VatsaDev/code-review",
        priority=30,
    ),
    Source(
        name="fineweb-code",
        about="A web page about code, recalled from Common Crawl by OpenCoder's classifier.",
        # 510 files of about 198k rows, 148 GB: never whole
        origin=HubOrigin(
            repo_id="OpenCoder-LLM/opc-fineweb-code-corpus",
            former_ids=("OpenCoder-LLM/fineweb-code-corpus",),
            max_files=4,
        ),
        adapter=PlainText(columns=("text",)),
        domain="code",
        format="raw",
        license="MIT",
        homepage="https://huggingface.co/datasets/OpenCoder-LLM/opc-fineweb-code-corpus",
        priority=90,
        threshold=Threshold(value=0.3),
        natural_languages=("en",),
        weight=2.0,
    ),
    Source(
        name="cot-o1-examples",
        about="One long worked example a file, with its reasoning spelled out.",
        origin=HubOrigin(repo_id="wassemgtk/CoT-O1-examples"),
        adapter=adapters.whole_object,
        domain="reasoning",
        format="cot",
        license="MIT",
        homepage="https://huggingface.co/datasets/wassemgtk/CoT-O1-examples",
        priority=10,
        weight=0.1,
        think_spans="mask",  # outlines of whatever fields a file has: worth reading, not worth imitating
    ),
    Source(
        name="o1-journey",
        about="A math question with a long chain of thought that tries, fails, reflects and corrects itself.",
        origin=HubOrigin(repo_id="GAIR/o1-journey"),
        adapter=adapters.long_chain_of_thought,
        domain="reasoning",
        format="cot",
        license="none stated",
        homepage="https://huggingface.co/datasets/GAIR/o1-journey",
        priority=10,
        weight=0.3,
    ),
    Source(
        name="tess-coder",
        about="A two-turn dialogue about a programming task: task, answer, follow-up, improved answer.",
        origin=HubOrigin(repo_id="migtissera/Tess-Coder-v1.0"),
        adapter=adapters.two_turn_dialogue,
        domain="code",
        format="instruct",
        license="Apache-2.0",
        homepage="https://huggingface.co/datasets/migtissera/Tess-Coder-v1.0",
        priority=20,
    ),
    Source(
        name="dolphin-coder",
        about="A LeetCode-like problem answered in one of several languages.",
        origin=HubOrigin(repo_id="QuixiAI/dolphin-coder", former_ids=("cognitivecomputations/dolphin-coder",)),
        adapter=PromptResponse(prompt=("question",), response=("response",), system="system_prompt"),
        domain="code",
        format="instruct",
        license="Apache-2.0",
        homepage="https://huggingface.co/datasets/QuixiAI/dolphin-coder",
        priority=40,
    ),
    Source(
        name="glaive-code-assistant",
        about="A programming question and its answer.",
        origin=HubOrigin(repo_id="glaiveai/glaive-code-assistant"),
        adapter=PromptResponse(prompt=("question",), response=("answer",)),
        domain="code",
        format="instruct",
        license="Apache-2.0",
        homepage="https://huggingface.co/datasets/glaiveai/glaive-code-assistant",
        priority=35,
    ),
    Source(
        name="code-instructions-122k",
        about="A short coding instruction in Alpaca's form, with its answer.",
        origin=HubOrigin(repo_id="TokenBender/code_instructions_122k_alpaca_style"),
        # the column `text` is prompt and answer again: reading it would train on everything twice
        adapter=PromptResponse(prompt=("instruction",), response=("output",), extra="input"),
        domain="code",
        format="instruct",
        license="Apache-2.0",
        homepage="https://huggingface.co/datasets/TokenBender/code_instructions_122k_alpaca_style",
        priority=60,
        weight=0.7,
    ),
    Source(
        name="open-tora",
        about="A math problem solved by writing a program, with the program's output.",
        origin=HubOrigin(repo_id="SciPhi/open-tora"),
        adapter=PromptResponse(
            prompt=("instruction", "problem", "question", "prompt", "input"),
            response=("output", "response", "answer", "completion", "solution"),
            extra="input",
        ),
        domain="math",
        format="cot",
        license="none stated",
        homepage="https://huggingface.co/datasets/SciPhi/open-tora",
        priority=30,
    ),
    Source(
        name="open-web-math",
        about="A mathematical web page with its LaTeX kept.",
        origin=HubOrigin(repo_id="open-web-math/open-web-math", max_files=4),
        adapter=PlainText(columns=("text",)),
        domain="math",
        format="raw",
        license="ODC-By-1.0",
        homepage="https://huggingface.co/datasets/open-web-math/open-web-math",
        priority=90,
        natural_languages=("en",),
        threshold=Threshold(quantile=0.2),  # the classifier learned code: of mathematics only its order is trusted
    ),
    Source(
        name="comp-math",
        about="An olympiad problem from one free-text file, some with solutions.",
        origin=HttpFileOrigin(
            url="https://raw.githubusercontent.com/Programming-Competitions/AIMO-Competition/main/total.txt"
        ),
        adapter=free_text.olympiad_text,
        domain="math",
        format="raw",
        license="Unlicense; content AoPS and MAA",
        homepage="https://github.com/Programming-Competitions/AIMO-Competition",
        priority=70,
        weight=0.3,
    ),
    Source(
        name="textbooks-lite",
        about="A section of a synthetic textbook.",
        origin=HubOrigin(repo_id="SciPhi/textbooks-are-all-you-need-lite"),
        adapter=PlainText(columns=("completion",)),  # the prompt that asked for it teaches nothing
        domain="code",
        format="textbook",
        license="Llama 2",
        homepage="https://huggingface.co/datasets/SciPhi/textbooks-are-all-you-need-lite",
        priority=25,
        weight=1.5,
    ),
    Source(
        name="tiny-textbooks",
        about="A short synthetic textbook written from a web page.",
        origin=HubOrigin(repo_id="nampdn-ai/tiny-textbooks"),
        adapter=PlainText(columns=("textbook", "text")),
        domain="reasoning",
        format="textbook",
        license="Apache-2.0",
        homepage="https://huggingface.co/datasets/nampdn-ai/tiny-textbooks",
        priority=25,
    ),
    Source(
        name="slimorca-cleaned",
        about="A question of the FLAN collection, answered step by step.",
        origin=HubOrigin(repo_id="Open-Orca/slimorca-deduped-cleaned-corrected"),
        adapter=adapters.sharegpt_conversations,
        domain="reasoning",
        format="instruct",
        license="MIT",
        homepage="https://huggingface.co/datasets/Open-Orca/slimorca-deduped-cleaned-corrected",
        priority=50,
    ),
    Source(
        name="agentinstruct",
        about="A synthetic exchange from Orca-AgentInstruct: coding, chain of thought and reasoning parts only.",
        origin=HubOrigin(
            repo_id="microsoft/orca-agentinstruct-1M-v1",
            splits=("code_", "fs_cot_flow", "analytical_reasoning", "brain_teaser", "mcq"),
        ),
        adapter=adapters.json_messages,
        domain="reasoning",
        format="agent",
        license="CDLA-Permissive-2.0",
        homepage="https://huggingface.co/datasets/microsoft/orca-agentinstruct-1M-v1",
        priority=45,
    ),
    Source(
        name="sdk-docs",
        about="A page of SDK documentation, fetched as Markdown by Jina Reader.",
        origin=JinaReaderOrigin(
            urls=(
                "https://docs.python.org/3/library/itertools.html",
                "https://docs.python.org/3/library/collections.html",
                "https://docs.python.org/3/library/asyncio-task.html",
                "https://docs.python.org/3/library/pathlib.html",
                "https://docs.python.org/3/library/sqlite3.html",
                "https://www.python-httpx.org/quickstart/",
                "https://docs.pola.rs/user-guide/getting-started/",
                "https://duckdb.org/docs/stable/clients/python/overview",
                "https://huggingface.co/docs/datasets/stream",
                "https://huggingface.co/docs/trl/sft_trainer",
            )
        ),
        adapter=free_text.reader_page,
        id_column="url",
        domain="code",
        format="raw",
        license="each page's own",
        homepage="https://jina.ai/reader/",
        priority=20,
        weight=0.5,
    ),
    Source(
        name="local-code",
        about="A source file of the running Python's standard library, or of packages and folders you name.",
        origin=LocalCodeOrigin(packages=("stdlib",), max_bytes=12_000_000),
        adapter=adapters.local_file,
        id_column="path",
        domain="code",
        format="raw",
        license="PSF-2.0",
        homepage="https://docs.python.org/3/library/",
        priority=80,
        threshold=Threshold(value=0.25),
        weight=1.0,
        has_sample=False,
    ),
    Source(
        name="exercises-composed",
        about="An exercise made by a program: a function to write, a value to predict, or a body to mend.",
        # as many as are wanted: the compositions of three primitives alone are 4.6 million
        origin=ComposedExercisesOrigin(number=200_000),
        sample_origin=ComposedExercisesOrigin(
            number=16_000, subset="basic", views={"write": 0.9, "predict": 0.05, "mend": 0.05}, javascript_share=0.0
        ),
        adapter=adapters.exercise,
        domain="code",
        format="textbook",
        license="Apache-2.0",
        homepage="https://arxiv.org/abs/2306.11644",
        priority=85,
        weight=12.0,
        has_sample=False,
    ),
)

SOURCES = sources_by_name((*_ENTRIES, *taught_sources(), *own_sources()))
