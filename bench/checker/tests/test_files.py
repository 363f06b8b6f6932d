"""Files, merging, exit codes: a history that cannot be trusted is never judged."""

import contextlib
import io
import json
import pathlib
import shutil
import tempfile
import unittest

from scenes import Scene, merged, sent

from interlink_checker import commands
from interlink_checker.history import HistoryError


class FilesTest(unittest.TestCase):
    """Each test has a folder."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def file(self, name: str, lines: list[dict] | str) -> str:
        """A history on the disk."""
        path = self.folder / name
        text = lines if isinstance(lines, str) else "".join(json.dumps(x) + "\n" for x in lines)
        path.write_text(text)
        return str(path)

    def check(self, *arguments: str) -> tuple[int, dict, str]:
        """Runs the program's main."""
        out, error = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            code = commands.main(list(arguments))
        return code, json.loads(out.getvalue() or "{}"), error.getvalue()

    def test_a_good_history_ends_with_0_and_one_object(self):
        code, found, table = self.check(self.file("a", sent(1).deliver(1, 1).lines))
        self.assertEqual((code, found["ok"], found["delivered"]), (0, True, 1))
        self.assertTrue(table.rstrip().endswith("holds"))

    def test_a_broken_rule_ends_with_1_and_says_which(self):
        code, found, table = self.check(self.file("a", sent(1, 2).deliver(1, 1).lines))
        self.assertEqual((code, found["acked_lost"]), (1, 1))
        self.assertIn("BROKEN", table)

    def test_several_files_are_one_history(self):
        scene = sent(1, 2).deliver(1, 1).deliver(2, 2)
        publisher = [line for line in scene.lines if line.get("client") == "p"]
        subscriber = [line for line in scene.lines if line.get("client") == "s"]
        code, found, _ = self.check(self.file("s", subscriber), self.file("p", publisher))
        self.assertEqual((code, found["lines"]), (0, 7))

    def test_a_publish_comes_before_a_delivery_of_the_same_microsecond(self):
        scene = Scene().publish(1).deliver(1, 1)
        for line in scene.lines:
            line["t"] = 5
        files = [("s", [json.dumps(scene.lines[1])]), ("p", [json.dumps(scene.lines[0])])]
        self.assertEqual([line["do"] for line in merged(files)], ["publish", "deliver"])

    def test_a_history_that_cannot_be_trusted_ends_with_2(self):
        good = sent(1).deliver(1, 1).lines
        bad = {
            "cut": json.dumps(good[0])[:-5],
            "no object": "[]",
            "no kind": '{"t": 1}',
            "unknown kind": '{"t": 1, "do": "forget"}',
            "missing field": '{"t": 1, "do": "lost"}',
            "truth for a number": '{"t": true, "do": "healed"}',
            "number for truth": '{"t": 1, "do": "ack", "client": "p", "id": 1, "level": "local", '
            '"degraded": 0}',
            "no class": [{**good[1], "class": 4}],
            "no level": [*good[:2], {**good[2], "level": "eternal"}],
            "falling time": [good[1], good[0]],
            "published twice": [*good, {**good[1], "t": 10**9}],
            "foreign ack": [*good, {**good[2], "client": "q", "t": 10**9}],
            "no ack": [line for line in good if line["do"] != "ack"],
            "no delivery": good[:-1],
            "empty": "",
        }
        for name, content in bad.items():
            code, found, error = self.check(self.file("bad", content))
            self.assertEqual((name, code, found), (name, 2, {}))
            self.assertIn("check: ", error)
        self.assertEqual(self.check(str(self.folder / "none"))[0], 2)

    def test_the_line_is_named(self):
        text = json.dumps(sent(1).lines[0]) + "\nnonsense\n"
        with self.assertRaisesRegex(HistoryError, "^name:2: "):
            list(merged([("name", text.splitlines())]))


if __name__ == "__main__":
    unittest.main()
