"""The report about a whole data set: every file read to its end, every row tokenised, and what is wrong with them."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.data.reading import Progress
from core.data.report.checks import opening
from core.data.report.comparing import Comparison, compare_rows, unusual_answers
from core.data.report.findings import ORDER, Found, finding_of
from core.data.report.languages import as_languages
from core.data.report.rows import Seen
from core.data.report.scan import LANGUAGES, Scan
from core.data.report.types import MOST_PLACES, Epoch, Finding, Lengths, Report, RowPlace
from core.data.templates import choose_template
from core.data.tokenizer import Tokenizer
from core.errors import Severity, UserError, error
from core.facts.types import ModelFacts
from core.spec.sections import DataSpec


def make_report(
    spec: DataSpec, seed: int, model: ModelFacts, *, on_progress: Callable[[int, int], None] | None = None
) -> Report:
    """Reads all of the data and says what it is.

    The files are gone through once, and once more only where rows have to be compared with each other; of each row
    some sixty bytes are kept in memory and forty on disk, so files of gigabytes are no matter. Tokens and loss marks
    are made by the functions that make them for the training. The report is about all rows that an epoch takes, each
    once; how many it takes with the weights of files is a number of its own.

    Args:
        spec: the section ``data`` of the spec.
        seed: decides which rows are held back where no validation files are named.
        model: the base model; its folder holds the tokenizer.
        on_progress: as in `core.data.dataset.load_dataset`; it may raise `LoadCancelledError`.

    Raises:
        LoadCancelledError: ``on_progress`` raised it.
        UserError: there are no files, one cannot be read, nobody can tell what its rows are, or the template or the
            tokenizer cannot be used. Rows that cannot be used are a finding instead.
    """
    if not spec.train:
        raise UserError(error("data.train", "There are no training files.", "Choose at least one file."))
    tokenizer = Tokenizer.load(Path(model.path))
    template = choose_template(spec.template, model, tokenizer)
    progress = Progress(on_progress)
    with Scan(spec, tokenizer, template, progress) as scan:
        scan.read_all()
        compared = compare_rows(scan, spec, seed, progress.alive)
        report = _Summary(scan, compared, spec).report(template.name)
    progress.finish(len(scan.table))
    return report


class _Summary:
    """Turns the tables of a scan into the report."""

    def __init__(self, scan: Scan, compared: Comparison, spec: DataSpec) -> None:
        self._scan, self._compared, self._spec = scan, compared, spec
        is_learned = scan.table.column("lengths") > 0
        self._trained = compared.is_kept & compared.is_training
        self._measured = compared.is_kept & ~compared.is_training
        self._more = _array(scan.more.rows)
        self._counted = self._trained & is_learned
        self._held = self._measured & is_learned
        self._lengths = self._histogram()
        self._documents = 2 if spec.train_on == "preferences" else 1  # of a row; lengths are those of documents

    def report(self, template_name: str) -> Report:
        """The whole report."""
        import numpy as np

        scan, documents = self._scan, self._documents
        pieces = self._trained[self._more]
        lengths = np.concatenate([scan.table.column("lengths")[self._counted], _array(scan.more.lengths)[pieces]])
        losses = np.concatenate(
            [scan.table.column("supervised")[self._counted], _array(scan.more.supervised)[pieces]]
        ).astype(np.int64)
        times = np.concatenate([self._compared.times[self._counted], self._compared.times[self._more][pieces]])
        languages = np.bincount(scan.table.column("languages")[self._counted], minlength=len(LANGUAGES)).tolist()
        return Report(
            rows=self._lengths.total_rows // documents,
            validation_rows=(int(self._held.sum()) + int(self._measured[self._more].sum())) // documents,
            skipped_rows=scan.refused.count + len(scan.seen.get("unwritable", Seen()).rows),
            tokens=self._lengths.total_tokens - self._lengths.cut(self._spec.max_length).tokens,
            supervised_tokens=int(losses.sum()),
            epoch=Epoch(
                rows=int(times.sum()) // documents,
                tokens=int((times * np.minimum(lengths, self._spec.max_length)).sum()),
                supervised_tokens=int((times * losses).sum()),
                unused_rows=self._compared.unused,
            ),
            lengths=self._lengths,
            max_length=self._spec.max_length,
            languages=as_languages({code: rows for code, rows in zip(LANGUAGES, languages, strict=True) if rows}),
            findings=self._findings(),
            repaired=self._repaired(),
            shape=scan.shapes[0].name,
            template_name=template_name,
            is_complete=self._compared.is_complete,
            documents=documents,
        )

    def _repaired(self) -> dict[str, int]:
        split = int(self._compared.is_kept[_array(self._scan.split_rows)].sum())
        return dict(+Counter({**self._scan.repairs.counts, **self._compared.dropped, "split_long": split}))

    def _histogram(self) -> Lengths:
        import numpy as np

        whole = self._scan.table.column("lengths")[self._counted]
        pieces = _array(self._scan.more.lengths)[self._trained[self._more]]
        tokens, rows = np.unique(np.concatenate([whole, pieces]), return_counts=True)
        return Lengths(tuple(tokens.tolist()), tuple(rows.tolist()))

    def _findings(self) -> tuple[Finding, ...]:
        places = dict(self._rows())
        quoted = self._quoted(places)
        found = [self._finding(name, places[name], quoted) for name in ORDER if name in places and len(places[name])]
        if self._scan.refused.count:
            refused = self._scan.refused
            found.insert(0, finding_of("unusable", self._found(refused.count, refused.places)))
        return tuple(sorted(found, key=lambda finding: finding.severity is Severity.INFO))

    def _rows(self) -> Iterator[tuple[str, Any]]:
        """Each finding with its rows: those that are left after the repairs."""
        import numpy as np

        compared = self._compared
        for name, seen in self._scan.seen.items():
            rows = np.unique(_array(seen.rows))
            # What a limit costs is a matter of training rows alone.
            yield name, rows[(self._trained if name == "cut" else compared.is_kept)[rows]]
        short, long = unusual_answers(self._scan, self._counted)
        yield "duplicates", compared.equal
        yield "near_duplicates", compared.near
        yield "leaked", compared.leaked
        yield "unmeasured", compared.unmeasured
        yield "short_answers", short
        yield "long_answers", long

    def _quoted(self, places: dict[str, Any]) -> dict[int, str]:
        """The beginnings of the rows of which no words were kept, read once more from the files."""
        wanted = {
            row for name, rows in places.items() for row in self._named(name, rows) if row not in self._kept(name)
        }
        return {row: opening(sample) for row, sample in self._scan.again(sorted(wanted))} if wanted else {}

    def _finding(self, name: str, rows: Any, quoted: dict[int, str]) -> Finding:
        known, table = self._kept(name), self._scan.table
        places = [table.place(row, known.get(row) or quoted.get(row, "")) for row in self._named(name, rows)]
        return finding_of(name, self._found(len(rows), places))

    def _named(self, name: str, rows: Any) -> list[int]:
        """The rows that a finding names: the first ones, or the most extreme ones."""
        named: list[int] = rows.tolist()
        if name in ("short_answers", "long_answers"):
            named = [row for row in named if row in self._kept(name)]
        return named[:MOST_PLACES]

    def _kept(self, name: str) -> Mapping[int, str]:
        """The words that were kept of rows with a finding."""
        extremes = self._scan.extremes
        if name in ("short_answers", "long_answers"):
            return extremes.short if name == "short_answers" else extremes.long
        return self._scan.seen[name].excerpts if name in self._scan.seen else {}

    def _found(self, count: int, places: Sequence[RowPlace]) -> Found:
        scan, lengths = self._scan, self._lengths
        return Found(
            count=count,
            places=places,
            rows=lengths.total_rows // self._documents,
            lengths=lengths,
            spec=self._spec,
            advised=tuple(scan.advised),
            splittable=scan.splittable,
            hidden=scan.hidden,
        )


def _array(values: Any) -> Any:
    import numpy as np

    return np.array(values, np.int64)
