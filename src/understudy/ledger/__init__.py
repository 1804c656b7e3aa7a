"""Every completion that was paid for, on disk before anyone parses it."""

from understudy.ledger._keys import UNANSWERED, transient
from understudy.ledger._ledger import Ledger

__all__ = ["UNANSWERED", "Ledger", "transient"]
