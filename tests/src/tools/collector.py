"""A TCP collector with python3-ipfix: one JSON line for each connection, when it has ended."""

import json
import socketserver
import sys

import ipfix.ie
import ipfix.reader

ipfix.ie.use_iana_default()


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        reader = ipfix.reader.from_stream(self.rfile)
        counts = {"flows": 0, "options": 0, "octets": 0, "complaints": []}
        complain = counts["complaints"].append
        reader.msg.unknown_data_set_hook = lambda *_: complain("a set without a template")
        due = {}
        try:
            while True:
                reader.msg.read_message(self.rfile)
                domain, sequence = reader.msg.odid, reader.msg.sequence
                if due.get(domain, 0) != sequence:
                    complain("sequence number %d instead of %d" % (sequence, due.get(domain, 0)))
                records = 0
                for record in reader.msg.namedict_iterator():
                    records += 1
                    counts["options"] += "interfaceName" in record
                    if "octetDeltaCount" in record:
                        counts["flows"] += 1
                        counts["octets"] += record["octetDeltaCount"]
                due[domain] = (sequence + records) % 2**32
        except EOFError:
            pass
        except Exception as error:  # whatever the decoder could not read
            complain(repr(error))
        print(json.dumps(counts), flush=True)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


with Server(("127.0.0.1", int(sys.argv[1])), Session) as server:
    print("listening", flush=True)
    server.serve_forever()
