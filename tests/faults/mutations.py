"""Mutations: the library is broken on purpose, one way at a time, and its smallest scenario must turn red.

    python -m tests.faults.mutations [NAME ...]

A mutant that survives its scenario fails the script: a promise that no test holds is no promise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.kit import rabbitmq as server

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "taskroute"
OPTIONS = ("-q", "-x", "--show-capture=no", "--tb=line", "--timeout=60", "-p", "no:cacheprovider")


class Mutation(NamedTuple):
    """What is changed where, and the test that must fail: of a file in this folder, or by its path in `tests`."""

    name: str
    file: str
    old: str
    new: str
    test: str

    @property
    def test_path(self) -> str:
        """The test as pytest is given it."""
        return f"tests/{self.test}" if "/" in self.test else f"tests/faults/{self.test}"


MUTATIONS = (
    Mutation(
        "show a policy to set that the one in effect outranks",
        "operate/plan/policies.py",
        "above.priority + 1",
        "0",
        "unit/test_plan_compare.py::test_policy_that_would_do_is_shown_with_what_is_in_effect",
    ),
    Mutation(
        "do not ask what a policy in effect says by itself",
        "operate/plan/looking.py",
        "replace(observed, policies=observe_policies(self.api, self._virtual_host))",
        "observed",
        "integration/test_policies_page.py::test_plan_of_the_page_prints_what_it_says_and_its_command_holds",
    ),
    Mutation(
        "acknowledge on receive",
        "worker/processor.py",
        "        if not self.work.put(deliveries):\n",
        "        for delivery in deliveries:\n            self.consumer.settle(delivery)\n"
        "        if not self.work.put(deliveries):\n",
        "test_shutdown.py::test_signal_ends_a_busy_worker_after_its_handler",
    ),
    Mutation(
        "take a written message for a confirmed one",
        "broker/roles/confirms.py",
        "        except MessageInvalidError as error:\n",
        "            submission.future.set_result(Receipt('', '', ''))\n        except MessageInvalidError as error:\n",
        "test_publisher.py::test_full_queue_rejects_the_message_and_the_connection_stays",
    ),
    Mutation(
        "go on with a channel after a confirm timeout, taking any confirm for the next message's",
        "broker/roles/in_flight.py",
        "        tags = [delivery_tag]\n",
        "        tags = [next((tag for tag, one in self._by_tag.items() if not one.is_resolved), delivery_tag)]\n",
        "test_publisher.py::test_late_confirm_confirms_its_own_message_alone",
    ),
    Mutation(
        "acknowledge before what was republished is confirmed",
        "worker/republish.py",
        "        self._confirms.submit(submission)\n",
        "        self._confirms.submit(submission)\n        sink.on_republished(failure)\n",
        "test_retries.py::test_message_never_dead_lettered_returns_to_its_queue_at_stop",
    ),
    Mutation(
        "send a stale acknowledgement on the new channel",
        "broker/roles/consuming.py",
        "            channel = self.channels.by_number.get(number)\n",
        "            channel = next(iter(self.channels.by_number.values()))\n",
        "test_channel.py::test_handler_finishing_after_a_reconnect_acknowledges_nothing",
    ),
    Mutation(
        "do not consume again after a reconnect",
        "broker/roles/consumer.py",
        "        if not self._is_cancelled:\n            consuming.start()\n",
        "        if generation == 1:\n            consuming.start()\n",
        "test_connection.py::test_reset_connections_lose_no_confirmed_message",
    ),
    Mutation(
        "no heartbeats",
        "broker/connection.py",
        "        heartbeat=heartbeat,\n        connect_timeout",
        "        heartbeat=0,\n        connect_timeout",
        "test_connection.py::test_broker_without_heartbeats_gets_those_of_the_client",
    ),
    Mutation(
        "unlimited prefetch",
        "broker/roles/consumer_channel.py",
        "basic_qos(0, prefetch, False)",
        "basic_qos(0, 0, False)",
        "test_overload.py::test_backlog_of_100000_puts_at_most_prefetch_in_the_process",
    ),
    Mutation(
        "acknowledge what cannot be decoded",
        "handling/dispatch.py",
        "        return Failed(error.reason, error.error, ",
        "        return handler.handled\n        return Failed(error.reason, error.error, ",
        "test_messages.py::test_invalid_body_is_dead_lettered_at_the_first_attempt",
    ),
    Mutation(
        "raise in the signal handler",
        "worker/signals.py",
        "            self.set()\n",
        "            raise KeyboardInterrupt\n",
        "test_shutdown.py::test_signal_ends_a_busy_worker_after_its_handler",
    ),
    Mutation(
        "wait for signals where they may not interrupt",
        "broker/wakeup.py",
        "signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)",
        "-1",
        "test_shutdown.py::test_signal_taken_by_another_thread_ends_the_worker",
    ),
    Mutation(
        "publish without mandatory",
        "broker/roles/confirms.py",
        "mandatory=submission.mandatory,\n",
        "mandatory=False,\n",
        "test_publisher.py::test_unroutable_message_raises_with_exchange_key_and_id[rabbitmq]",
    ),
    Mutation(
        "full prefetch straight after a start",
        "broker/roles/consumed_queue.py",
        '"all_one_by_one" if admission == "all" and is_careful',
        '"all_one_by_one" if False',
        "test_handlers.py::test_message_that_kills_its_process_is_dead_lettered_alone[kill-shared]",
    ),
    Mutation(
        "do not look for a consumer that the broker has forgotten",
        "broker/roles/consumer.py",
        "            if not consumers and tag is not None and queue.tag == tag:\n",
        "            if False:\n",
        "test_connection.py::test_consumer_forgotten_by_the_broker_is_counted_and_restarted",
    ),
    Mutation(
        "send everything again at once after the broker closed the channel",
        "broker/roles/confirms.py",
        "        if offender := self._suspects",
        "        if (offender := unconfirmed[0] if unconfirmed else None) and False and self._suspects",
        "test_publisher.py::test_refused_message_that_closes_the_channel_fails_alone",
    ),
    Mutation(
        "wait for the rest of a frame",
        "broker/frames.py",
        "            return False\n        self._keep(chunk)\n        return len(chunk) == _READ_SIZE\n",
        "            return self._at < len(self._ahead)\n        self._keep(chunk)\n        return True\n",
        "test_connection.py::test_frame_stalled_half_way_does_not_hold_the_sessions_thread",
    ),
    Mutation(
        "have an id wait for a message that was given up",
        "broker/roles/in_flight.py",
        "        if identity in returnable and not returnable[identity].is_resolved:",
        "        if identity in returnable:",
        "unit/test_confirms.py::test_given_up_message_blocks_no_other_one_with_its_id",
    ),
    Mutation(
        "wait for ever for a confirm",
        "broker/roles/confirms.py",
        "        if overdue and",
        "        if False and",
        "unit/test_confirms.py::test_overdue_confirm_ends_the_connection_and_sends_again",
    ),
    Mutation(
        "count silence as time to confirm",
        "broker/roles/confirm_watch.py",
        "            self._heard += 0.0 if is_blocked or is_silence else gap\n",
        "            self._heard += 0.0 if is_blocked else gap\n",
        "unit/test_confirm_watch.py::test_silence_does_not_count_when_the_broker_is_heard_again",
    ),
    Mutation(
        "go on with a channel that refuses for ever",
        "broker/roles/confirms.py",
        "            self._replace(time.monotonic())\n",
        "            self._must_replace = False\n",
        "test_republish.py::test_length_policy_set_and_lifted_delays_no_retry",
    ),
    Mutation(
        "never declare a helper queue again",
        "worker/republish.py",
        "            self.session.post(partial(self._redeclare, action.queue))\n",
        "            pass\n",
        "test_republish.py::test_deleted_helper_queue_is_declared_again[queue1-buried.dead]",
    ),
    Mutation(
        "republish what the broker delivers again",
        "worker/republication.py",
        "        if self.is_stale() and",
        "        if False and",
        "unit/test_republication.py::test_message_whose_delivery_became_stale_is_not_written_again",
    ),
    Mutation(
        "keep it to oneself that failed messages are held up",
        "worker/republish.py",
        "        return (self.error is not None or self.since <= overdue) and",
        "        return False and",
        "test_republish.py::test_held_up_failures_are_a_warning_and_then_a_reason",
    ),
    Mutation(
        "wait at the stop for an answer that connecting waits for",
        "broker/session.py",
        "            self.sever()  # if there",
        "            pass  # if there",
        "test_negotiation.py::test_unanswered_declaration_is_named_and_cut_at_stop",
    ),
    Mutation(
        "write headers that do not fit into the broker's frame",
        "broker/encoding.py",
        "    if len(header) > size:\n",
        "    if False:\n",
        "test_negotiation.py::test_headers_beyond_the_brokers_frame_fail_alone_by_name",
    ),
    Mutation(
        "make what is republished fit into the usual frame",
        "worker/republish.py",
        "self.session.frame_max or self._frame_max() or DEFAULT_FRAME_MAX",
        "DEFAULT_FRAME_MAX",
        "test_negotiation.py::test_failed_message_that_outgrows_the_brokers_frame_is_retried",
    ),
    Mutation(
        "lose the connection when it has no channel left",
        "broker/question.py",
        "            self._answer.set_exception(error)\n        except Exception",
        "            self._answer.set_exception(error)\n            raise\n        except Exception",
        "test_negotiation.py::test_channel_limit_that_leaves_none_to_ask_depths_costs_no_connection",
    ),
    Mutation(
        "take a result that nobody runs for handled",
        "handlers/returned.py",
        "    elif type(result) not in _PLAIN and isinstance(result, _ALL) and not _has_ended(result):\n",
        "    elif False:\n",
        "unit/test_returned.py::test_what_nobody_runs_is_an_error_that_names_it",
    ),
    Mutation(
        "close the providers of a coroutine before it runs",
        "handlers/call.py",
        "                return Crossing(submit).wait(finish(result))\n",
        "                return finish(result)\n",
        "unit/test_returned.py::test_decorated_coroutine_runs_with_its_providers_open",
    ),
    Mutation(
        "publish what a handler of the same type cannot read",
        "message/json_body.py",
        "            self._needs_trial\n",
        "            False\n",
        "unit/test_reading_back.py::test_body_that_cannot_be_read_back_is_refused_by_name",
    ),
    Mutation(
        "publish NaN as null",
        "message/json_body.py",
        "            if byte in document and mark in document:\n",
        "            if False:\n",
        "unit/test_reading_back.py::test_body_that_cannot_be_read_back_is_refused_by_name",
    ),
    Mutation(
        "lose the connection over the end of one consumer",
        "broker/roles/consuming.py",
        '            self.end(queue, "the broker has ended its consumer")\n',
        '            raise ConnectionError("the broker has ended a consumer")\n',
        "test_channel.py::test_deleted_queue_is_declared_and_consumed_again",
    ),
    Mutation(
        "take a queue whose node is down for a mismatch",
        "broker/endings.py",
        '"unavailable", "the node that',
        '"mismatch", "the node that',
        "test_topology.py::test_classic_queue_whose_node_is_down_is_waited_for_alone",
    ),
    Mutation(
        "begin a single-active queue with the whole prefetch",
        "broker/roles/consumed_queue.py",
        'self._admit(admission, self.spec.queue_type == "quorum")',
        'self._admit(admission, self.spec.queue_type == "quorum" and not self.spec.single_active_consumer)',
        "test_handlers.py::test_message_that_kills_its_process_is_dead_lettered_alone[kill-single active]",
    ),
    Mutation(
        "give back everything up to the last message that nobody has begun",
        "broker/roles/acknowledgements.py",
        "            self._channel.put_back(*self._window.take({*tags[first : first + KEEPS_ORDER]}))\n",
        "            self._window.take({*tags[first : first + KEEPS_ORDER]})\n"
        "            self._channel.put_back(max(tags[first : first + KEEPS_ORDER]), [])\n",
        "unit/test_acknowledgements.py::test_what_is_put_back_was_not_settled_and_takes_nothing_along",
    ),
    Mutation(
        "let messages wait for handlers until the broker takes them back",
        "handling/waiting_times.py",
        "        if max(waited, expected or 0.0) < self.limit / 2:\n",
        "        if True:\n",
        "test_channel.py::test_short_handlers_behind_a_full_prefetch_stay_within_the_consumer_timeout",
    ),
    Mutation(
        "believe the headers of any message that lies in a queue by its name",
        "message/origin.py",
        "not all(map(_had_come_by_name, deaths))",
        "False",
        "test_letter_origin.py::test_forged_headers_of_a_message_that_the_broker_moved_do_not_count[memory]",
    ),
    Mutation(
        "give back what comes while a worker stops before what waited",
        "worker/processor.py",
        "with self._leaving:  # the worker is stopping: they go back after what waited",
        "if True:",
        "integration/test_missing_queue.py::test_stop_gives_back_last_what_comes_last[memory]",
    ),
    Mutation(
        "count deliveries before they are lined up for handlers",
        "broker/roles/consumer.py",
        "            self._sink.on_deliveries(batch)\n",
        "            self._delivered += len(batch)\n"
        "            self._sink.on_deliveries(batch)\n"
        "            self._delivered -= len(batch)\n",
        "integration/test_worker.py::test_wait_idle_waits_for_a_delivery_not_yet_lined_up",
    ),
    Mutation(
        "dead-letter a key that somebody newer has bound at once",
        "handling/unhandled.py",
        "    if _is_routed(delivery, topology):\n",
        "    if True:\n",
        "test_messages.py::test_key_bound_by_a_newer_version_waits_for_its_worker",
    ),
    Mutation(
        "take every message that a closed publisher has not published for one that may be there",
        "publisher/unconfirmed.py",
        "isinstance(error, PublishTimeoutError)),",
        "isinstance(error, PublishError)),",
        "test_publisher.py::test_close_tells_written_messages_from_those_never_written",
    ),
    Mutation(
        "dead-letter a message for one header that cannot be decoded",
        "broker/frames.py",
        "            self._read_one_by_one(buf, offset + _PROPERTIES_AT)\n",
        '            self.malformed = ("invalid_header", "headers")\n',
        "unit/test_header_table.py::test_value_that_cannot_be_decoded_costs_only_itself",
    ),
    Mutation(
        "write a header that is NaN",
        "broker/properties.py",
        "        if type(value) not in _SIMPLE:\n",
        "        if False:\n",
        "unit/test_properties.py::test_header_that_is_not_finite_is_refused_by_name",
    ),
    Mutation(
        "keep a failed message in a circle of references",
        "handlers/crossing.py",
        "            finally:\n                del plain_call  # as in `wait`\n",
        "            finally:\n                pass\n",
        "unit/test_circles.py::test_message_is_freed_when_it_is_handled",
    ),
    Mutation(
        "reset the handlers of process 1, which takes no signal then",
        "worker/signals.py",
        "            ends = _end_process if os.getpid() == 1 else signal.SIG_DFL\n",
        "            ends = signal.SIG_DFL\n",
        "integration/test_signals.py::test_second_signal_ends_process_one_at_once",
    ),
    Mutation(
        "let a hook's exits end the thread that calls it",
        "instrumentation/hooks.py",
        "                if must_go_on(error):\n                    raise\n"
        "                self.report(hook, error)  # instr",
        "                if not isinstance(error, Exception):\n                    raise\n"
        "                self.report(hook, error)  # instr",
        "integration/test_threads.py::test_alien_exception_in_a_hook_ends_no_thread",
    ),
    Mutation(
        "leave a thread called that an exception has hit",
        "worker/work_queue.py",
        "                self._waiting.put_back(delivery)\n            self._mend()\n",
        "                self._waiting.put_back(delivery)\n",
        "integration/test_interrupts.py::test_exception_at_any_line_is_survived_or_told[worker.work_queue]",
    ),
    Mutation(
        "keep the place of a message that a defect has left open",
        "worker/processor.py",
        "            self.admissions.on_abandoned(delivery)\n            self.work.release(delivery)\n",
        "            self.admissions.on_abandoned(delivery)\n",
        "integration/test_threads.py::test_defect_before_a_handler_gives_its_place_to_the_next_message",
    ),
    Mutation(
        "keep the loop of a thread that could not be started",
        "worker/event_loop.py",
        "            thread.start()\n            with self._lock:\n"
        "                if self._loop is None and not self._stopping:\n"
        "                    self._loop, self._thread = loop, thread\n",
        "            with self._lock:\n"
        "                if self._loop is None and not self._stopping:\n"
        "                    self._loop, self._thread = loop, thread\n"
        "            thread.start()\n",
        "integration/test_threads.py::test_async_message_without_a_thread_for_the_loop_is_handled_later",
    ),
    Mutation(
        "begin async handlers in the context of the thread that calls the loop",
        "worker/event_loop.py",
        "            loop.call_soon_threadsafe(self._begin, context=Context())\n",
        "            loop.call_soon_threadsafe(self._begin)\n",
        "integration/test_threads.py::test_context_of_a_plain_handler_is_not_that_of_an_async_one",
    ),
    Mutation(
        "return from a stop while another one goes on",
        "worker/life.py",
        "        with self._turn:\n",
        "        if self._depth:\n            yield False\n        else:\n",
        "integration/test_threads.py::test_run_and_a_second_stop_return_when_the_first_stop_is_done",
    ),
    Mutation(
        "do nothing after a stop that was interrupted",
        "worker/life.py",
        '            if not is_first or self.phase == "stopped":\n                return []\n',
        '            if not is_first or self.phase in ("draining", "stopped"):\n                return []\n',
        "integration/test_threads.py::test_stop_goes_on_after_an_interrupted_one",
    ),
    Mutation(
        "keep overdue retries until one with a longer delay is back",
        "worker/pending_retries.py",
        "            self._until.setdefault(delay, {})[retry]",
        "            self._until.setdefault(0, {})[retry]",
        "unit/test_pending_retries.py::test_retries_that_never_come_back_are_forgotten_behind_a_longer_one",
    ),
    Mutation(
        "count an exception that is returned as a success",
        "handlers/returned.py",
        "isinstance(result, BaseException) or (",
        "isinstance(result, type(None)) or (",
        "unit/test_returned.py::test_what_nobody_runs_is_an_error_that_names_it",
    ),
    Mutation(
        "send headers that are nested deeper than they are read",
        "broker/header_problem.py",
        "    return levels == 0 or any(",
        "    return levels == -99 or any(",
        "unit/test_properties.py::test_header_is_sent_as_deep_as_it_is_read",
    ),
    Mutation(
        "lose in silence what a subclass in a field adds",
        "message/json_body.py",
        "or (self._classes and any(",
        "or (not self._classes and any(",
        "unit/test_reading_back.py::test_subclass_that_is_made_after_the_first_publish_is_looked_at",
    ),
    Mutation(
        "publish dicts with keys that JSON writes alike",
        "message/json_body.py",
        "if len(from_json(to_json(keys))) < len(keys):",
        "if len(from_json(to_json(keys))) > len(keys):",
        "unit/test_reading_back.py::test_body_without_a_type_is_held_to_the_rules_of_what_is_in_it",
    ),
    Mutation(
        "lose the connection over the channel of one queue",
        "broker/rabbitmq_channel.py",
        "        if self.on_closed is None or",
        "        if True or",
        "test_channel.py::test_worker_handles_again_after_a_406",
    ),
    Mutation(
        "leave a connection for the first node while deliveries are open",
        "broker/roles/consumer.py",
        "        return not self._settled and not any(queue.unsettled for queue in consuming.queues)\n",
        "        return True\n",
        "test_nodes.py::test_worker_goes_back_to_its_first_node_and_repeats_nothing",
    ),
    Mutation(
        "leave a connection for the first node while confirms are open",
        "broker/roles/confirms.py",
        "        return not any(any(channel.unconfirmed()) for channel in self._channels())\n",
        "        return True\n",
        "unit/test_confirms.py::test_connection_is_left_once_every_confirm_is_in",
    ),
    Mutation(
        "try the nodes in the same order everywhere",
        "broker/node_order.py",
        "        self._key = secrets.token_bytes(_KEY_BYTES) if key is None else key\n",
        "        self._key = b'the same'\n",
        "unit/test_node_order.py::test_fleet_is_spread_over_the_nodes",
    ),
    Mutation(
        "take the members of a flag for all that is written of it",
        "graph/bodies/values.py",
        'if written.kind == "enum" and issubclass',
        'if written.kind == "flag" and issubclass',
        "unit/test_body_verdict.py::test_flags_are_not_taken_for_the_members_of_an_enum",
    ),
    Mutation(
        "read a body by a type that is not there",
        "handlers/signature.py",
        "    if name is None or mark_of(",
        "    if name is not None or mark_of(",
        "unit/test_annotations.py::test_name_that_is_absent_is_refused_with_the_way_out",
    ),
    Mutation(
        "take a key that is read as another for the same",
        "message/difference.py",
        "    if given.keys() != read.keys():",
        "    if len(given) != len(read):",
        "unit/test_reading_back.py::test_body_that_cannot_be_read_back_is_refused_by_name",
    ),
    Mutation(
        "give whoever asks for another version of RabbitMQ the embedded broker that is there",
        "broker/embedded/brokers.py",
        "    if version is not None and found.rules is not wanted:\n",
        "    if False:\n",
        "unit/test_embedded_versions.py::test_another_version_of_a_broker_is_refused_by_name",
    ),
    Mutation(
        "put what comes back to an embedded quorum queue at its old place",
        "broker/embedded/quorum_backlog.py",
        "        self._returned.append(entry)\n        self._add(entry)\n",
        "        super().restore(entry)\n",
        "conformance/test_quorum.py::test_returned_messages_come_first_in_the_order_of_their_return[memory]",
    ),
    Mutation(
        "keep what comes back to an embedded queue over its length limit",
        "broker/embedded/queue.py",
        "        if self._is_limited and self._drop_overflow():\n            self.expire()  #",
        "        if False:\n            self.expire()  #",
        "conformance/test_quorum.py::test_a_returned_message_over_max_length_is_dropped[memory]",
    ),
    Mutation(
        "check no argument of an embedded queue",
        "broker/embedded/queue_settings.py",
        "        if not argument.takes(value):\n",
        "        if False:\n",
        "conformance/test_queue_arguments.py::test_arguments_are_checked_by_the_type_of_queue_and_the_version[memory]",
    ),
    Mutation(
        "send what the broker is known to refuse",
        "broker/declare.py",
        'if limit.stage.support == "refused":',
        "if False:",
        "integration/test_broker_versions.py::test_binding_of_three_hashes_is_refused_before_it_is_sent",
    ),
    Mutation(
        "declare again and again what the broker refuses for good",
        "broker/roles/queue_suspects.py",
        "        if suspicion.refused is not None:\n",
        "        if False:\n",
        "integration/test_broker_versions.py::test_queue_denied_after_an_upgrade_costs_one_connection",
    ),
    Mutation(
        "take what the user may not look at for missing",
        "broker/declare.py",
        "                self.remarks.unseen(subject, _flat(error))\n                return False\n",
        "                raise\n",
        "integration/test_hidden_queues.py::test_verify_goes_on_without_a_look_at_helper_queues",
    ),
    Mutation(
        "rely on what the broker met before lacks",
        "broker/roles/consumer.py",
        "self._met.meeting(broker)",
        "Met(broker, broker)",
        "integration/test_broker_versions.py::test_queue_denied_after_an_upgrade_costs_one_connection",
    ),
    Mutation(
        "take a series for its first release",
        "topology/broker_facts.py",
        "(*self.numbers, math.inf) >= since",
        "self.numbers >= since",
        "unit/test_check_brokers.py::test_binding_between_exchanges_is_looked_at",
    ),
    Mutation(
        "take silence for an idle queue for ever",
        "broker/roles/consumer.py",
        "        consuming.renew_one(time.monotonic())\n",
        "        pass\n",
        "unit/test_consumer.py::test_silent_queue_is_consumed_anew_sooner_at_first",
    ),
    Mutation(
        "settle deliveries of an embedded channel in their own order",
        "broker/embedded/channel_state.py",
        "sorted(groups.values(), key=_place)",
        "groups.values()",
        "conformance/test_delivery.py::test_recovered_messages_come_back_by_consumer_tag[memory]",
    ),
    Mutation(
        "keep the turn of an embedded consumer that is full",
        "broker/embedded/turns.py",
        "            self._full.append(taker)\n        return None",
        "            self._round.append(taker)\n            return None\n        return None",
        "conformance/test_delivery.py::test_a_consumer_passed_over_as_full_takes_its_next_turn_last[memory-classic]",
    ),
    Mutation(
        "keep what comes back to an embedded queue although it is due",
        "broker/embedded/queue.py",
        "        self._drop_overflow()\n        self.expire()",
        "        self._drop_overflow()",
        "conformance/test_quorum.py::test_what_comes_back_due_expires_in_a_queue_with_priorities[memory]",
    ),
    Mutation(
        "wait for the moment to go back to the first node while there is no connection",
        "broker/session.py",
        "            steps.callback(self._moving.lost)\n",
        "            pass\n",
        "test_nodes.py::test_worker_without_any_node_does_not_wait_for_its_first",
    ),
    Mutation(
        "wait for a password to become right",
        "broker/link.py",
        "        return bool(self.nodes) and all(str(node) in self.closed_to_us for node in self.nodes)\n",
        "        return False\n",
        "test_login.py::test_refused_login_ends_a_worker_that_keeps_trying",
    ),
    Mutation(
        "call handlers of a queue that is paused by hand",
        "worker/processor.py",
        "        self.work.hold(queue)\n",
        "",
        "integration/test_pause.py::test_paused_queue_calls_no_handler_until_it_is_resumed",
    ),
    Mutation(
        "keep messages of a paused queue for ever",
        "worker/prefetch_watch.py",
        "        self._consumer.put_back(waiting)\n",
        "",
        "integration/test_pause.py::test_paused_messages_go_back_before_the_broker_takes_them",
    ),
    Mutation(
        "let a finding that is an error pass",
        "cli/commands/check.py",
        '    fails = ("error", "warning") if arguments.strict else ("error",)\n',
        '    fails = ("error", "warning") if arguments.strict else ()\n',
        "unit/test_cli_offline.py::test_check_fails_for_errors_and_if_strict_for_warnings",
    ),
    Mutation(
        "show frames of ours below the user's",
        "cli/traceback.py",
        "    if ours is None:\n",
        "    if ours is not None:\n",
        "unit/test_cli_target.py::test_error_of_a_spec_ends_its_traceback_in_the_users_line",
    ),
    Mutation(
        "take a dependency that is not there for the target",
        "cli/target.py",
        "        if not has_users_frame(error) and not isinstance(error, SyntaxError):\n",
        "        if isinstance(error, ModuleNotFoundError):\n",
        "unit/test_cli_target.py::test_error_of_the_users_code_shows_its_traceback",
    ),
    Mutation(
        "load for help what only the command needs",
        "cli/commands/explain.py",
        "from taskroute.cli.target import add_target, load_target\n",
        "from taskroute.cli.target import add_target, load_target\nfrom taskroute.graph.explain import explain\n",
        "integration/test_command_line.py::test_help_of_no_command_loads_pydantic_kombu_or_amqp",
    ),
    Mutation(
        "repeat a password that stands in a complaint",
        "cli/terminal.py",
        "    print(escaped(without_passwords(line)), file=sys.stderr)\n",
        "    print(escaped(line), file=sys.stderr)\n",
        "unit/test_cli_terminal.py::test_complaint_is_one_line_without_a_password",
    ),
    Mutation(
        "create the queues that are counted",
        "broker/depths.py",
        "            declared = channel.queue_declare(queue, passive=True)\n",
        "            declared = channel.queue_declare(queue, passive=False)\n",
        "integration/test_cli_broker.py::test_stats_creates_nothing",
    ),
    Mutation(
        "let a name end its label in a drawing",
        "graph/drawing/rendering.py",
        "    if character in '\"\\\\':\n",
        "    if character in '\\\\':\n",
        "unit/test_drawing.py::test_names_cannot_leave_their_place_in_a_drawing",
    ),
    Mutation(
        "leave a broken pipe to Python",
        "cli/main.py",
        "    except BrokenPipeError:",
        "    except ZeroDivisionError:",
        "integration/test_command_line.py::test_reader_that_leaves_ends_a_command_without_a_word",
    ),
    Mutation(
        "consume the first of the silent queues anew",
        "broker/roles/consuming.py",
        "min(silent, key=lambda queue: (not self._backlogs.ready(queue.spec.name), queue.heard_at))",
        "silent[0]",
        "unit/test_consumer.py::test_silent_queues_are_consumed_anew_in_turn",
    ),
    Mutation(
        "take no settled delivery for a sign of its queue",
        "broker/roles/consuming.py",
        "            queue.heard_at = now\n",
        "",
        "unit/test_consumer.py::test_silent_queues_are_consumed_anew_in_turn",
    ),
    Mutation(
        "keep the channel of a queue that is consumed anew",
        "broker/roles/consuming.py",
        "if not self.channels.is_shared(channel) and not queue.unsettled:",
        "if False:",
        "test_silent_queues.py::test_message_that_was_lost_on_its_way_comes_again[memory]",
    ),
    Mutation(
        "consume a queue anew in the middle of a message",
        "broker/roles/consuming.py",
        "not self.channels.by_queue[queue.spec.name].channel.is_receiving",
        "True",
        "unit/test_consumer.py::test_queue_with_a_message_on_its_way_in_is_not_consumed_anew",
    ),
    Mutation(
        "tell an empty list from an empty table among headers",
        "topology/routing.py",
        "        return [(name, *_typed(item)) for name, item in value.items()]\n",
        "        return [(name, *_typed(item)) for name, item in value.items()] or {}\n",
        "conformance/test_routing.py::test_headers_exchanges_match_by_the_table_of_rules[memory]",
    ),
    Mutation(
        "begin anew under the tag of an embedded consumer whose deliveries are open",
        "broker/embedded/consumers.py",
        "        if earlier is None:\n",
        "        if True:\n",
        "conformance/test_quorum.py::test_open_deliveries_of_the_same_tag_are_those_of_the_next_consumer[memory]",
    ),
    Mutation(
        "give the consumers of an embedded quorum queue what they get message by message",
        "broker/embedded/quorum_queue.py",
        "        if len(self.consumers) < 2:\n",
        "        if True:\n",
        "conformance/test_quorum.py::test_several_consumers_are_given_what_they_get_at_once_one_by_one[memory]",
    ),
    Mutation(
        "suggest a name that is not near",
        "suggestion.py",
        "    if near := get_close_matches(name.lower(), folded, n=1):\n",
        "    if near := list(folded):\n",
        "unit/test_suggestion.py::test_name_that_is_near_to_none_has_no_suggestion",
    ),
    Mutation(
        "let a parameter that one pattern of a list captures take the body for another",
        "handlers/registry.py",
        "plan.body is not None and plan.body.name in other.capture_names",
        "False",
        "unit/test_registry.py::test_list_of_patterns_that_do_not_fit_registers_nothing",
    ),
    Mutation(
        "let a process go on without its parent",
        "cli/supervisor/member.py",
        "        return lines is not None\n",
        "        return True\n",
        "test_run_processes.py::test_parent_that_is_killed_leaves_no_process",
    ),
    Mutation(
        "start all processes before the first one has connected",
        "cli/supervisor/supervisor.py",
        "        return time.monotonic() >= self._next_start and (not staying or has_gone_ahead)\n",
        "        return time.monotonic() >= self._next_start\n",
        "test_run_processes.py::test_new_release_that_cannot_be_imported_replaces_nothing",
    ),
    Mutation(
        "leave open what a client does not end",
        "cli/probes/server.py",
        "        connection.settimeout(left)\n",
        "        connection.settimeout(None)\n",
        "integration/test_probe_server.py::test_client_that_never_ends_its_request_is_left",
    ),
    Mutation(
        "wait for what a service opens when its worker is stopped",
        "service/service.py",
        "            heed(worker, stop_signal)\n",
        "",
        "integration/test_lifespan.py::test_worker_that_is_stopped_while_its_service_opens_ends_the_run",
    ),
    Mutation(
        "end a worker over what it does not consume",
        "broker/roles/declaring.py",
        "_FATAL_OF_OTHERS: Final = (UnsupportedFeatureError,)\n",
        "_FATAL_OF_OTHERS: Final = (TopologyMismatchError,)\n",
        "integration/test_mismatch.py::test_worker_goes_on_beside_a_mismatch_that_it_does_not_consume",
    ),
    Mutation(
        "publish to an exchange that is another one",
        "broker/roles/closed_addresses.py",
        "        self._exchanges[exchange.name] = _bare(error)\n",
        "",
        "integration/test_publisher.py::test_mismatch_of_an_exchange_raises_at_once_for_what_is_published_to_it",
    ),
    Mutation(
        "verify without comparing",
        "broker/declare.py",
        "        with self._naming(subject, queue):\n            try:\n                declare()\n",
        "        with self._naming(subject, queue):\n            try:\n                pass\n",
        "integration/test_mismatch.py::test_verify_compares_what_is_there",
    ),
    Mutation(
        "leave out events that are not listed",
        "graph/check/events.py",
        "    return dict.fromkeys((*topology.all_events, *(",
        "    return dict.fromkeys((*topology.events, *(",
        "unit/test_check_events.py::test_event_that_only_a_queue_or_a_handler_uses_counts",
    ),
    Mutation(
        "take no exchange from a binding",
        "topology/topology.py",
        "        if found:\n",
        "        if not found:\n",
        "unit/test_topology.py::test_topology_takes_the_exchanges_that_its_bindings_were_made_of",
    ),
    Mutation(
        "tell what an exception says where its place alone may be told",
        "raised.py",
        '        if self.detail == "place":\n            return Raised(kind, place)\n',
        "",
        "unit/test_raised.py::test_place_alone_tells_nothing_that_an_exception_says",
    ),
    Mutation(
        "take the innermost line for the user's",
        "code_place.py",
        "    found = users or of_package or innermost\n",
        "    found = innermost\n",
        "unit/test_code_place.py::test_place_is_in_the_code_that_called_a_library",
    ),
    Mutation(
        "write the text of an exception into a traceback as it is",
        "traceback_text.py",
        "{escaped(text)}",
        "{text}",
        "unit/test_raised.py::test_no_text_of_an_exception_forges_a_line_of_its_traceback",
    ),
    Mutation(
        "say nothing where logging is not set up",
        "foreign.py",
        "        self._logger: Final = logging.getLogger(name)\n",
        "        self._logger = logging.getLogger(name)\n        self._logger.addHandler(logging.NullHandler())\n",
        "integration/test_failures.py::test_example_with_a_typo_prints_what_is_wrong_and_what_is_left",
    ),
    Mutation(
        "drop the headers of others before the traceback of an error",
        "broker/properties.py",
        "        return _COPIED\n",
        "        return _OWN\n",
        "unit/test_properties.py::test_traceback_and_text_of_an_error_are_dropped_before_any_other_header",
    ),
    Mutation(
        "cancel what a lifespan runs in the background with the handlers",
        "worker/event_loop.py",
        "tasks = set(self._tasks) if self._residents else asyncio.all_tasks(loop)",
        "tasks = asyncio.all_tasks(loop)",
        "integration/test_lifespan.py::test_background_tasks_of_a_lifespan_outlive_the_handlers",
    ),
    Mutation(
        "tell the error of a message again when its publisher is closed",
        "publisher/window.py",
        "tuple(each for each in self._open.values() if not each.future.done())",
        "tuple(self._open.values())",
        "integration/test_publisher_close.py::test_close_names_no_message_whose_error_was_told_just_before",
    ),
    Mutation(
        "cancel what has a lifespan closed with the handlers",
        "service/lifespan.py",
        "self._loop.reside(self._close.put(timeout))",
        "self._loop.run(self._close.put(timeout))",
        "integration/test_lifespan.py::test_async_lifespan_is_closed_behind_a_handler_that_blocked_its_loop",
    ),
    Mutation(
        "leave a lifespan open that was opened for nobody",
        "service/parts.py",
        "            stack.callback(lifespan.close)\n            self._resources.open(resources)\n",
        "            self._resources.open(resources)\n            stack.callback(lifespan.close)\n",
        "integration/test_lifespan.py::test_lifespan_that_goes_wrong_is_an_error_that_names_it",
    ),
    Mutation(
        "make a worker that has not what its handlers ask for",
        "worker/given.py",
        "        if asked.default is not Parameter.empty:\n            default = asked.default\n",
        "        if True:\n            default = asked.default\n",
        "unit/test_asked.py::test_worker_without_what_a_handler_asks_for_is_not_built",
    ),
    Mutation(
        "let the number of a closed stderr be taken",
        "cli/commands/run.py",
        "    open_standard_descriptors()\n",
        "    pass\n",
        "test_run_processes.py::test_processes_without_stdout_and_stderr_do_their_share_and_end",
    ),
    Mutation(
        "drain an old process where a new one is not ready",
        "cli/supervisor/supervisor.py",
        "            self._outdated = tuple(sorted(self._staying(), key=lambda child: child.is_ready))\n",
        "            self._outdated = self._staying()\n",
        "test_run_processes.py::test_second_roll_spares_the_process_of_the_first_alone",
    ),
    Mutation(
        "take every annotation for an answer",
        "graph/check/handlers.py",
        "    if annotation in _AWAITABLE:\n        return False\n",
        "    if annotation in _AWAITABLE:\n        return True\n    return True\n",
        "unit/test_check_answers.py::test_function_that_promises_no_answer_is_fine",
    ),
    Mutation(
        "print the metadata of a type",
        "quoting.py",
        "    if origin is Annotated:\n        return type_name(parts[0])\n",
        "    if origin is Annotated:\n        return str(annotation)\n",
        "unit/test_event_spec.py::test_event_of_a_union_prints_its_members",
    ),
    Mutation(
        "ask for a paused queue before the others",
        "broker/roles/consumer.py",
        "sorted(consuming.queues, key=lambda queue: queue.tag is None)",
        "consuming.queues",
        "integration/test_backlog.py::test_paused_queue_that_is_gone_hides_no_lost_consumer",
    ),
    Mutation(
        "keep the backlog of a connection that is lost",
        "broker/roles/consumer.py",
        "        self._backlogs.forget_all()\n",
        "",
        "integration/test_backlog.py::test_backlog_of_a_lost_connection_is_not_known",
    ),
    Mutation(
        "show the backlog that the first process saw",
        "cli/exposition.py",
        'newest[series] = max(newest.get(series, (0, "")), (int(time), sample))',
        "newest.setdefault(series, (int(time), sample))",
        "unit/test_cli_answers.py::test_what_all_processes_see_is_shown_once_as_the_newest_saw_it",
    ),
    Mutation(
        "tell spans the text of an exception whatever may be told",
        "instrumentation/hooks.py",
        "return self._disclosure.of(error, ",
        "return TELL_ALL.of(error, ",
        "integration/test_observability.py::test_failed_span_has_what_may_be_told_of_the_error",
    ),
    Mutation(
        "declare no queue that is consumed anew",
        "broker/roles/consuming.py",
        '        if queue.state != "missing":\n            self._declare_anew(queue)\n',
        "",
        "unit/test_consumer.py::test_queue_that_is_consumed_anew_is_bound_again",
    ),
    Mutation(
        "warn of a queue that differs at each attempt",
        "broker/remarks.py",
        "self._is_new(_consumer_of(name), str(error))",
        "True",
        "unit/test_remarks.py::test_lost_queue_is_a_warning_until_its_problem_changes",
    ),
    Mutation(
        "raise what serves a queue before what is wrong with it",
        "broker/roles/declaring.py",
        "                    problems.append(error)\n",
        "                    raise\n",
        "integration/test_mismatch.py::test_queue_of_the_spec_is_raised_before_what_serves_it[memory]",
    ),
    Mutation(
        "call with an option that there is not, and have Python say so",
        "suggestion.py",
        "if name not in known:",
        "if False:",
        "unit/test_suggestion.py::test_name_that_is_nearly_right_is_asked_for",
    ),
    Mutation(
        "believe anybody's word on the handler of a dead letter",
        "message/origin.py",
        "handler=_text(told.get(HANDLER)),",
        "handler=_text(headers.get(HANDLER)),",
        "unit/test_origin.py::test_what_is_told_of_an_error_is_believed_where_the_error_is",
    ),
    Mutation(
        "leave an error of several words unquoted in a line",
        "log_fields.py",
        'if name != "error" or',
        'if name != "no" or',
        "unit/test_log_fields.py::test_error_of_more_than_a_word_is_quoted",
    ),
    Mutation(
        "give up waiting for idle, and say nothing",
        "worker/idle.py",
        "if timeout > 0:",
        "if timeout < 0:",
        "integration/test_pause.py::test_wait_for_idle_that_gives_up_says_what_is_left",
    ),
    Mutation(
        "find a gap of an event twice",
        "graph/check/keys.py",
        "*(event.pattern.tokens for event in events)]",
        "]",
        "unit/test_check_events.py::test_unhandled_key_of_an_event_is_found_once",
    ),
    Mutation(
        "repeat a word that may hold a password",
        "cli/typed.py",
        'if "@" in word else',
        "if False else",
        "integration/test_cli_broker.py::test_password_of_a_broker_is_in_no_output",
    ),
    Mutation(
        "take several nodes in one URL for one",
        "broker/url.py",
        """if url.count("://") > 1 or "," in host or ";" in host:""",
        "if False:",
        "unit/test_url.py::test_several_nodes_in_one_url_are_told_to_be_a_list",
    ),
    Mutation(
        "add up the dead letters that all processes see",
        "cli/exposition.py",
        "frozenset({BACKLOG, DEAD_LETTERS})",
        "frozenset({BACKLOG})",
        "unit/test_cli_answers.py::test_dead_letters_that_all_processes_see_are_shown_once",
    ),
    Mutation(
        "hand a child its URL in its arguments",
        "cli/settings.py",
        """asdict(self) | {"url": self.url is not None}""",
        "asdict(self)",
        "unit/test_cli_wiring.py::test_settings_for_a_child_have_their_url_in_its_environment",
    ),
    Mutation(
        "take a count that the broker does not tell for 0",
        "operate/observed.py",
        "    told = facts.get(name)\n    return int(told)",
        "    told = facts.get(name, 0)\n    return int(told)",
        "unit/test_observed.py::test_what_the_broker_does_not_say_is_unknown_and_not_zero",
    ),
    Mutation(
        "take everything for absent where there is no such virtual host",
        "operate/observed.py",
        "    reader.check_virtual_host()\n    return _observed(virtual_host, found_exchanges",
        "    return _observed(virtual_host, found_exchanges",
        "unit/test_observed.py::test_missing_virtual_host_is_an_error_and_not_empty",
    ),
    Mutation(
        "leave wait and dead-letter queues out of the definitions",
        "topology/definitions.py",
        "for each in topology.all_queues if",
        "for each in topology.queues if",
        "unit/test_definitions.py::test_definitions_say_what_is_declared_with_helper_queues",
    ),
    Mutation(
        "let a signal end a process that has just been started",
        "cli/supervisor/child.py",
        "    with held_back(OF_MEMBERS):\n",
        "    with held_back(()):\n",
        "unit/test_cli_members.py::test_signal_to_a_child_that_has_just_been_started_ends_it_with_0",
    ),
    Mutation(
        "reap a process where it is killed",
        "cli/supervisor/child.py",
        "        os.kill(self.pid, signal.SIGKILL)\n",
        "        self._process.kill()\n",
        "unit/test_cli_members.py::test_child_that_is_killed_after_its_end_is_left_to_be_reaped",
    ),
    Mutation(
        "print names from a file as they are",
        "operate/importing/python.py",
        'f"\\\\{each}" if each in (quote, "\\\\") else each if each.isprintable() else repr(each)[1:-1]',
        "each",
        "unit/test_importing.py::test_names_that_are_code_stay_names",
    ),
    Mutation(
        "print comments from a file as they are",
        "operate/importing/python.py",
        "textwrap.wrap(escaped(text), WIDTH - 2, break_long_words=False, break_on_hyphens=False)",
        "[text]",
        "unit/test_importing.py::test_names_that_are_code_stay_names",
    ),
    Mutation(
        "take a spec for what was found without comparing",
        "operate/importing/comparison.py",
        "return _text(found) == _text(dict(declared))",
        "return True",
        "unit/test_importing.py::test_queue_that_no_spec_declares_is_passive_with_the_reason",
    ),
    Mutation(
        "fold a helper queue that has a binding of its own",
        "operate/importing/queues.py",
        "_is_declared_so(found, helper) and helper.name not in self._bound",
        "_is_declared_so(found, helper)",
        "unit/test_importing.py::test_helper_that_is_not_as_we_declare_it_is_a_queue_of_its_own",
    ),
    Mutation(
        "remove a dead letter before its copy is confirmed",
        "operate/dead_letters/delivering.py",
        "        now = time.monotonic()\n        self._next_at",
        "        if parcel.delivery is not None:\n            self._taking.acknowledge(parcel.delivery)\n"
        "        now = time.monotonic()\n        self._next_at",
        "test_dead_letters.py::test_cut_at_any_frame_loses_no_letter_and_makes_one_copy_at_most",
    ),
    Mutation(
        "remove dead letters before their file is written",
        "operate/dead_letters/dead_letters.py",
        "                if chosen:\n                    write_safely",
        "                for _, delivery in chosen:\n                    taking.acknowledge(delivery)\n"
        "                taking.tick()\n                if chosen:\n                    write_safely",
        "integration/test_dead_letters.py::test_nothing_is_removed_when_its_file_cannot_be_written",
    ),
    Mutation(
        "send a dead letter to whichever queue it names",
        "operate/dead_letters/homes.py",
        "        if queue is None:\n",
        "        if queue is None:\n            return Home(name)\n        if queue is None:\n",
        "integration/test_dead_letters.py::test_letter_of_a_queue_that_is_nobodys_here_stays",
    ),
    Mutation(
        "look into a queue that counts looks",
        "operate/dead_letters/lookable.py",
        "    if limit < SAFE_DELIVERY_LIMIT:\n",
        "    if limit < 2:\n",
        "integration/test_dead_letters.py::test_only_a_queue_that_counts_no_looks_is_looked_into",
    ),
    Mutation(
        "write a letter again when its connection was lost",
        "operate/dead_letters/sending.py",
        "        for submission in tuple(self.written):\n",
        "        for submission in ():\n",
        "test_dead_letters.py::test_connection_lost_in_flight_leaves_the_letter_and_says_so",
    ),
    Mutation(
        "forget a letter that is interrupted while it is handed in",
        "operate/dead_letters/delivering.py",
        "        self._sending.send(submission)\n",
        "        taken = self._open.pop()\n        self._sending.send(submission)\n        self._open.append(taken)\n",
        "test_dead_letters.py::test_interrupt_while_a_letter_is_handed_in_removes_it_once_it_is_sent",
    ),
    Mutation(
        "take a dead letter that no queue took for one that was sent",
        "operate/dead_letters/sending.py",
        "            mandatory=True,\n",
        "            mandatory=False,\n",
        "integration/test_dead_letters.py::test_letter_stays_whose_queue_is_gone",
    ),
    Mutation(
        "delete a queue after one look",
        "operate/plan/execute.py",
        "        pause(BETWEEN_READINGS)\n",
        "        pass\n",
        "integration/test_plan.py::test_queue_is_looked_at_twice_before_it_is_deleted",
    ),
    Mutation(
        "do a step without looking again at what it rests on",
        "operate/plan/execute.py",
        "    observed = looking.at([step])\n    outcome = _without_doing(step, list(step.obstacles(observed)), ",
        "    observed = looking.at([step])\n    outcome = _without_doing(step, [], ",
        "integration/test_plan.py::test_step_whose_ground_has_changed_since_is_told_and_skipped",
    ),
    Mutation(
        "say that a binding is removed because nothing was refused",
        "operate/plan/execute.py",
        "    if isinstance(step, Unbind) and not",
        "    if False and not",
        "test_plan_input.py::test_binding_that_is_left_is_never_said_to_be_unbound",
    ),
    Mutation(
        "remove a binding by its routing key",
        "operate/plan/writing.py",
        "binding.properties_key)",
        "binding.routing_key)",
        "integration/test_plan.py::test_every_step_is_done_whenever_the_one_before_was_the_last",
    ),
    Mutation(
        "take a queue whose count is late for an empty one",
        "operate/plan/facts.py",
        "        if queue is None or queue.messages == 0:\n",
        "        if queue is None or not queue.messages:\n",
        "test_plan_input.py::test_count_that_is_late_is_not_zero_and_keeps_the_queue",
    ),
    Mutation(
        "take a queue whose messages are unsettled for an empty one",
        "operate/observed.py",
        'messages=_count(facts, "messages"),',
        'messages=_count(facts, "messages_ready"),',
        "integration/test_plan.py::test_queue_whose_only_message_is_unsettled_is_kept",
    ),
    Mutation(
        "delete a stream",
        "operate/plan/facts.py",
        'queue.type in ("classic", "quorum")',
        'queue.type in ("classic", "quorum", "stream")',
        "unit/test_plan_compare.py::test_retired_queue_is_deleted_only_when_nothing_is_in_it",
    ),
    Mutation(
        "delete without the management API",
        "cli/commands/prune.py",
        "    if arguments.api is None:\n",
        "    if False:\n",
        "integration/test_cli_plan.py::test_wrong_use_is_told_in_a_line",
    ),
    Mutation(
        "take a key that stands in no contract for a stale one",
        "operate/plan/compare.py",
        "            if key in self._stood and key not in self._wanted ",
        "            if key not in self._wanted ",
        "unit/test_plan_compare.py::test_key_is_stale_only_if_it_stood_in_a_contract",
    ),
    Mutation(
        "bind a new key while older workers consume the queue",
        "operate/plan/compare.py",
        "rests_on=(NotBound(wanted), known, *before)",
        "rests_on=(NotBound(wanted), *before)",
        "test_plan_input.py::test_queue_of_another_team_that_a_target_names_is_left_as_it_is",
    ),
    Mutation(
        "unbind what is nobody's target",
        "operate/plan/compare.py",
        " and key not in moved and self._is_ours(binding):\n",
        " and key not in moved:\n",
        "unit/test_plan_compare.py::test_foreign_queue_that_nobody_consumes_is_information",
    ),
    Mutation(
        "delete a dead-letter queue while its queue is used",
        "operate/plan/compare.py",
        "self._delete(name, why, Unconsumed(name), rests_on=self._unneeded_by(served, name))",
        "self._delete(name, why, Unconsumed(name))",
        "test_plan_input.py::test_queue_of_another_team_that_a_target_names_is_left_as_it_is",
    ),
    Mutation(
        "take the count of a queue with one active consumer for that of all",
        "operate/plan/looking.py",
        "    return len(details) >= count if queue.arguments.get(SINGLE_ACTIVE) is True else len(details) == count\n",
        "    return len(details) == count\n",
        "integration/test_plan.py::test_consumers_of_a_queue_with_one_active_are_known",
    ),
    Mutation(
        "begin with a queue before the one that it waits for is gone",
        "broker/roles/consuming.py",
        "        if self.queues.awaited_by(queue) is not None:\n",
        "        if False:\n",
        "integration/test_replaced_in_order.py::test_replacement_waits_until_the_old_queue_is_gone",
    ),
    Mutation(
        "bind a queue in the step that creates it",
        "broker/alterations.py",
        """update={"bindings": (), "replaces": None, "after": None}""",
        """update={"replaces": None, "after": None}""",
        "test_plan.py::test_command_killed_before_and_after_each_step_is_finished_by_the_next_run",
    ),
    Mutation(
        "let letters that are not meant hide those behind them",
        "operate/dead_letters/looking.py",
        "            if is_out or MOST - len(self.held) < _LEAST_ROOM:\n",
        "            if True:\n",
        "integration/test_dead_letters.py::test_letters_that_are_not_meant_hide_none_behind_them",
    ),
    Mutation(
        "forget letters that were passed over when they are put back",
        "broker/taking.py",
        "        self._passed_over[delivery.generation].append(delivery.tag)\n",
        "        self._channels[delivery.generation].channel.acknowledge(0, [delivery.tag])\n",
        "integration/test_dead_letters.py::test_letters_that_are_not_meant_hide_none_behind_them",
    ),
    Mutation(
        "leave what is confirmed after an interrupt to be there twice",
        "operate/dead_letters/delivering.py",
        "            if error is None:\n                if parcel.delivery",
        "            if error is not None:\n                if parcel.delivery",
        "integration/test_dead_letters.py::test_interrupt_in_a_run_leaves_nothing_twice_that_is_confirmed",
    ),
    Mutation(
        "begin a rate with a burst of dead letters",
        "operate/dead_letters/delivering.py",
        "max(self._next_at, now) + self._interval",
        "max(self._next_at, now - self._interval) + self._interval",
        "unit/test_delivering.py::test_rate_is_never_exceeded_not_even_at_the_start",
    ),
    Mutation(
        "send dead letters beyond the time of a run",
        "operate/dead_letters/delivering.py",
        "        if time.monotonic() >= self._deadline:\n",
        "        if False:\n",
        "unit/test_delivering.py::test_run_ends_at_its_time_and_the_others_stay",
    ),
    Mutation(
        "end the channel of dead letters before their queue has settled them",
        "broker/taking.py",
        "        self._unsettled[number] = 0\n",
        "        self._unsettled[number] = 0\n        return\n",
        "integration/test_dead_letters.py::test_queue_is_waited_for_after_every_16_letters_and_after_the_last",
    ),
    Mutation(
        "let SIGTERM end a change of dead letters without a word",
        "cli/dead/progress.py",
        "        with interrupting():\n            yield progress\n",
        "        yield progress\n",
        "test_dead_letters.py::test_signal_in_a_retry_ends_it_by_the_signal_and_says_how_far_it_came",
    ),
    Mutation(
        "wait for a classic queue that the broker does not answer for",
        "broker/roles/inquiry.py",
        '    return queue.queue_type == "classic" and queue.durable and not queue.exclusive\n',
        "    return False\n",
        "test_topology.py::test_classic_queue_without_an_answer_is_waited_for_alone",
    ),
    Mutation(
        "describe keys to publish with that no binding lets in",
        "graph/asyncapi/narrowing.py",
        "    return _with_names(taken, pattern)\n",
        "    return pattern\n",
        "unit/test_asyncapi.py::test_channel_has_the_keys_that_a_handler_gets",
    ),
    Mutation(
        "let readers of draft 7 pass over what stands beside a reference",
        "graph/asyncapi/draft7.py",
        '    if "$ref" not in schema or len(schema) == 1:\n',
        "    if schema:\n",
        "unit/test_asyncapi.py::test_schema_says_the_same_in_draft_7",
    ),
    Mutation(
        "take a publish that is denied for a finding",
        "cli/exits.py",
        " or is_denied else",
        " else",
        "test_rights.py::test_command_needs_each_of_its_rights_and_no_others",
    ),
    Mutation(
        "forget the handlers when looking for lost keys",
        "graph/contract/lost.py",
        "    is_handled = any(taker.pattern.is_subset(other) for other in near)\n",
        "    is_handled = True\n",
        "unit/test_contract.py::test_key_whose_handler_is_gone_is_lost_though_it_is_routed",
    ),
    Mutation(
        "forget the bindings when looking for lost keys",
        "graph/contract/lost.py",
        "        for flow in way.gone.near(binding_key):\n",
        "        for flow in ():\n",
        "unit/test_cli_lock.py::test_check_tells_what_is_lost_with_its_key_and_the_way_out",
    ),
    Mutation(
        "forget what still runs when looking for refused bodies",
        "graph/contract/refused.py",
        "            yield from _decided(sender.name, None, self._by_running(sender))\n",
        "            pass\n",
        "unit/test_contract.py::test_event_that_writes_what_still_running_handlers_refuse_is_told",
    ),
    Mutation(
        "keep an allowance whose message is handled again",
        "graph/contract/allowances.py",
        "        return not is_routed or (taker is None and queue in new.named)\n",
        "        return True\n",
        "unit/test_cli_lock.py::test_allowance_is_honoured_until_its_key_is_handled_again",
    ),
    Mutation(
        "take a body's shape for what it reads where its code is at hand",
        "graph/contract/bodies.py",
        "        if self.parameter is not None:\n            return _refusal_by_code(self.parameter, body)\n",
        "",
        "unit/test_contract.py::test_handler_that_reads_less_is_told",
    ),
    Mutation(
        "write the null of a literal otherwise than that of a union",
        "graph/contract/shapes.py",
        '            return _any_of([{"enum": sorted({text.decode() for text in schema.constants()})}])\n',
        '            return {"enum": sorted({text.decode() for text in schema.constants()})}\n',
        "unit/test_contract_shapes.py::test_type_that_is_read_has_one_shape_in_every_version",
    ),
    Mutation(
        "let a name end the element with the facts of a page",
        "graph/drawing/html.py",
        'text.replace("<", "\\\\u003c")',
        'text.replace("<", "<")',
        "unit/test_page.py::test_names_cannot_leave_their_place_in_the_page",
    ),
    Mutation(
        "end apply with 1 when a right is missing",
        "cli/planning.py",
        "return Exit.BROKER if any(outcome.is_denied for outcome in outcomes) else code",
        "return code",
        "test_rights.py::test_command_needs_each_of_its_rights_and_no_others[`apply --api`]",
    ),
    Mutation(
        "say nothing of publishers that the user is not told of",
        "cli/planning.py",
        "    if not may_see_publishers(found.api):\n        complain(",
        "    if not may_see_publishers(found.api):\n        str(",
        "test_rights.py::test_publishers_that_cannot_be_seen_are_told_before_the_question",
    ),
    Mutation(
        "change something without having asked",
        "cli/planning.py",
        'return agrees(f"do {len(steps)} steps?")',
        "return True",
        "test_rights.py::test_publishers_that_cannot_be_seen_are_told_before_the_question",
    ),
    Mutation(
        "take a right that is missing to unbind for a wrong password",
        "operate/management.py",
        'if method == "DELETE" and reason.startswith(_NO_RIGHT):',
        "if reason is None:",
        "test_rights.py::test_command_needs_each_of_its_rights_and_no_others[`prune --api` of keys]",
    ),
    Mutation(
        "take a retry that is denied for one of unknown outcome",
        "operate/dead_letters/sending.py",
        "self.is_denied = self.is_denied or (is_denied(error) and not self.has_worked())",
        "self.is_denied = False",
        "test_rights.py::test_command_needs_each_of_its_rights_and_no_others[`dead retry`, `move`]",
    ),
    Mutation(
        "call a bounded queue that may not be looked at a defect",
        "operate/dead_letters/delivering.py",
        "        except QueueUnreadableError as error:\n            self._stopped",
        "        except ZeroDivisionError as error:\n            self._stopped",
        "test_rights.py::test_letter_stays_whose_queue_may_drop_messages_and_cannot_be_counted",
    ),
    Mutation(
        "let two boxes of a drawing overlap",
        "graph/drawing/layout.py",
        "blocks[-1][0] > block[0]",
        "blocks[-1][0] > block[0] + 90",
        "unit/test_svg.py::test_boxes_of_a_layer_never_overlap_and_lines_meet_them",
    ),
    Mutation(
        "believe the headers of a letter that had come through an exchange",
        "message/origin.py",
        'return death.get("exchange") == "" and isinstance',
        "return isinstance",
        "unit/test_origin.py::test_headers_count_only_if_the_broker_says_that_they_came_by_the_queues_name",
    ),
    Mutation(
        "believe the headers of a letter that had come by another key than its queue's name",
        "message/origin.py",
        ' and isinstance(keys, list) and keys[:1] == [death.get("queue")]',
        "",
        "unit/test_origin.py::test_headers_count_only_if_the_broker_says_that_they_came_by_the_queues_name",
    ),
    Mutation(
        "take the last entry of x-death for the origin of a letter",
        "message/origin.py",
        "newest = deaths[0] if",
        "newest = deaths[-1] if",
        "unit/test_origin.py::test_letter_that_the_broker_moved_twice_is_not_believed",
    ),
    Mutation(
        "settle letters that have come since the start",
        "operate/dead_letters/looking.py",
        "min(ready - looked_at, MOST",
        "min(ready + 1 - looked_at, MOST",
        "integration/test_dead_letters.py::test_letter_that_comes_after_the_count_is_left",
    ),
    Mutation(
        "leave the time out of the id of a letter",
        "operate/dead_letters/letter.py",
        'failed_at.isoformat(timespec="milliseconds") if failed_at else ""',
        '""',
        "unit/test_letter.py::test_id_changes_with_queue_time_message_id_and_body",
    ),
    Mutation(
        "send a letter again that went back too often, and ask nobody",
        "cli/dead/retrying.py",
        "max_replays=None if also_often",
        "max_replays=None if True",
        "integration/test_cli_dead.py::test_letter_that_failed_too_often_is_asked_for_separately",
    ),
    Mutation(
        "fill a queue that drops its head beyond its limit",
        "operate/dead_letters/delivering.py",
        "        if capacity is None:\n",
        "        if capacity is not None or True:\n",
        "integration/test_dead_letters.py::test_queue_that_drops_its_head_is_filled_below_its_limit",
    ),
    Mutation(
        "leave a replaced queue's key with nobody when its replacement could not be bound",
        "operate/plan/compare.py",
        "rests_on=(Bound(wanted.at(moved.destination)), Bound(wanted), *before),",
        "rests_on=(Bound(wanted.at(moved.destination)), *before),",
        "unit/test_plan_execute.py::test_old_queue_keeps_a_key_that_the_new_one_has_not_got",
    ),
    Mutation(
        "bind a replacement while older workers consume the old queue",
        "operate/plan/compare.py",
        "rests_on=(NotBound(wanted), known, *before))",
        "rests_on=(NotBound(wanted), known))",
        "unit/test_plan_compare.py::test_replacement_waits_while_workers_of_another_digest_consume_the_old_queue",
    ),
    Mutation(
        "prune the keys that apply is to move",
        "operate/plan/compare.py",
        " and key not in moved and self",
        " and self",
        "unit/test_plan_compare.py::test_keys_that_apply_moves_are_not_stale",
    ),
    Mutation(
        "take the helpers of somebody else's queue for stale ones of ours",
        "operate/plan/targets.py",
        "return self.queue_names - helpers - passive",
        "return self.queue_names - helpers",
        "unit/test_plan_compare.py::test_bindings_and_helpers_of_a_queue_that_somebody_else_owns_are_not_stale",
    ),
    Mutation(
        "end an apply with zero though a step was skipped",
        "cli/planning.py",
        '    is_left = is_left or any(outcome.result in ("skipped", "failed") for outcome in outcomes)\n',
        "",
        "integration/test_cli_plan.py::test_retired_queue_that_has_messages_is_kept",
    ),
    Mutation(
        "write the entries of a contract into one line",
        "graph/contract/document.py",
        '",\\n".join(f"    {line}" for line in lines)',
        '", ".join(f"    {line}" for line in lines)',
        "unit/test_contract_text.py::test_contract_has_one_entry_a_line_in_an_order_of_its_own",
    ),
    Mutation(
        "take what AMQP counts for all that is in a queue where the management API says nothing yet",
        "operate/plan/looking.py",
        "None if queue.messages is None else max(queue.messages, depth.ready)",
        "depth.ready",
        "unit/test_plan_looking.py::test_count_that_the_api_does_not_say_is_not_that_of_amqp",
    ),
    Mutation(
        "go on sending letters to a queue that has refused one",
        "operate/dead_letters/delivering.py",
        "            self._stopped[parcel.to] = why = ",
        "            why = ",
        "integration/test_dead_letters.py::test_queue_that_refuses_one_letter_is_sent_no_other",
    ),
)


def survives(mutation: Mutation, environment: Mapping[str, str]) -> str | None:
    """Return why the mutant is not caught, None if it is. `environment`: what its test is told besides."""
    with tempfile.TemporaryDirectory(prefix="taskroute-mutant-") as folder:
        package = Path(folder) / "taskroute"
        shutil.copytree(SOURCE, package, ignore=shutil.ignore_patterns("__pycache__"))
        mutated = package / mutation.file
        text = mutated.read_text()
        if text.count(mutation.old) != 1:
            return f"{mutation.file} has the text to change {text.count(mutation.old)} times"
        mutated.write_text(text.replace(mutation.old, mutation.new))
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *OPTIONS, mutation.test_path],
            cwd=ROOT,
            env={**os.environ, **environment, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    failed = done.returncode == 1 and " failed" in done.stdout
    timed_out = "Timeout" in done.stdout + done.stderr
    return None if failed or timed_out else done.stdout[-2000:] + done.stderr[-2000:]


def main() -> None:
    """Try the mutations that are named, or all, two on each core: their tests wait most of the time."""
    chosen = [mutation for mutation in MUTATIONS if not sys.argv[1:] or mutation.name in sys.argv[1:]]
    with _broker_of_all() as environment, ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        tried = pool.map(partial(_try, environment=environment), chosen)
        survivors = [mutation.name for mutation, survived in zip(chosen, tried, strict=True) if survived]
    if survivors:
        raise SystemExit(f"{len(survivors)} of {len(chosen)} mutants survived: {', '.join(survivors)}")
    print(f"all {len(chosen)} mutants caught")


@contextmanager
def _broker_of_all() -> Iterator[Mapping[str, str]]:
    """Run a broker for the tests that do not break theirs: each would start one of its own, which takes longest."""
    node = server.Node()
    node.use_management()
    with server.running(node):
        yield {"TASKROUTE_TEST_URL": node.url(), "TASKROUTE_TEST_API": node.api}


def _try(mutation: Mutation, environment: Mapping[str, str]) -> bool:
    """Try a mutation, say how it went, and return whether it survives."""
    began = time.monotonic()
    why = survives(mutation, environment)
    print(f"{'SURVIVED' if why else 'caught'} in {time.monotonic() - began:.0f} s: {mutation.name}", flush=True)
    if why:
        print(why, flush=True)
    return why is not None


if __name__ == "__main__":
    main()
