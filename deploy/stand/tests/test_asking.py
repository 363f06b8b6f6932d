"""Answers of servers are read to the byte, and broken ones are no crash."""

import pathlib
import socket
import struct
import sys
import threading
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from interlink_stand import kafka_wire, resp  # noqa: E402
from interlink_stand.errors import StandError  # noqa: E402
from interlink_stand.waiting import NotYet, until  # noqa: E402


class Answering:
    """A server that gives one answer to whatever it is asked, and closes."""

    def __init__(self, answer: bytes):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.asked = b""
        self.thread = threading.Thread(target=self.serve, args=(answer,))

    def serve(self, answer: bytes):
        """Takes one connection."""
        connection, _ = self.listener.accept()
        with connection:
            self.asked = connection.recv(65536)
            connection.sendall(answer)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.thread.join()
        self.listener.close()


class RedisTest(unittest.TestCase):
    """RESP2."""

    def answer(self, data: bytes, *words):
        """What the client makes of an answer."""
        with Answering(data) as server:
            try:
                return resp.ask(server.address, *(words or ("PING",)))
            finally:
                self.asked = server

    def test_every_kind_of_answer_is_read(self):
        self.assertEqual(self.answer(b"+PONG\r\n"), "PONG")
        self.assertEqual(self.answer(b":-7\r\n"), -7)
        self.assertEqual(self.answer(b"$4\r\na\r\nb\r\n"), "a\r\nb")
        self.assertIsNone(self.answer(b"$-1\r\n"))
        self.assertEqual(self.answer(b"*2\r\n:1\r\n*1\r\n$0\r\n\r\n"), [1, [""]])

    def test_words_are_sent_with_their_lengths(self):
        self.answer(b"+OK\r\n", "SET", "ä", 5)
        self.assertEqual(self.asked.asked, b"*3\r\n$3\r\nSET\r\n$2\r\n\xc3\xa4\r\n$1\r\n5\r\n")

    def test_an_error_is_not_yet(self):
        with self.assertRaisesRegex(NotYet, "LOADING"):
            self.answer(b"-LOADING data\r\n")

    def test_a_cut_or_strange_answer_is_an_error(self):
        for data in (b"", b"+PO", b"$4\r\nab", b"*2\r\n:1\r\n"):
            with self.assertRaises(ConnectionError):
                self.answer(data)
        for data in (b"HTTP/1.1 400\r\n", b"$99999999999\r\n"):
            with self.assertRaises(NotYet):
                self.answer(data)


def metadata(brokers: list[tuple[int, str, int]]) -> bytes:
    """A Metadata answer as a broker writes it."""
    body = struct.pack(">iii", kafka_wire.CORRELATION, 0, len(brokers))
    for number, host, port in brokers:
        name = host.encode()
        body += struct.pack(">ih", number, len(name)) + name + struct.pack(">ih", port, -1)
    return body + struct.pack(">hii", -1, 1, 0)


class KafkaTest(unittest.TestCase):
    """The Metadata request."""

    def test_brokers_are_read(self):
        answer = metadata([(1, "127.0.0.1", 6750), (3, "127.0.0.1", 6752)])
        with Answering(struct.pack(">i", len(answer)) + answer) as server:
            known = kafka_wire.brokers(server.address)
        self.assertEqual(known, {1: "127.0.0.1:6750", 3: "127.0.0.1:6752"})
        self.assertEqual(server.asked, kafka_wire.request())

    def test_the_length_of_the_request_is_what_follows(self):
        request = kafka_wire.request()
        self.assertEqual(struct.unpack(">i", request[:4])[0], len(request) - 4)

    def test_a_cut_answer_is_not_yet_at_every_length(self):
        answer = metadata([(1, "127.0.0.1", 6750)])
        needed = len(answer) - 12
        for length in range(needed):
            with self.assertRaises(NotYet, msg=str(length)):
                kafka_wire.brokers_of(answer[:length])

    def test_an_answer_to_another_question_is_not_yet(self):
        with self.assertRaises(NotYet):
            kafka_wire.brokers_of(struct.pack(">iii", 9, 0, 0))


class UntilTest(unittest.TestCase):
    """Asking until it is so."""

    def test_it_asks_again_until_the_answer_is_true(self):
        answers = iter([False, None, "yes"])
        self.assertEqual(until("it", 5, lambda: next(answers)), "yes")

    def test_the_last_reason_is_in_the_error(self):
        def question():
            raise NotYet("still loading")

        with self.assertRaisesRegex(StandError, "it is not ready after 0 s: still loading"):
            until("it", 0, question)

    def test_a_dead_server_ends_the_waiting_at_once(self):
        def dead():
            raise StandError("it has ended")

        with self.assertRaisesRegex(StandError, "it has ended"):
            until("it", 3600, lambda: False, dead)


if __name__ == "__main__":
    unittest.main()
