"""The customers of the shop.

All domains end with `.example`, which RFC 2606 reserves: no mail reaches anyone.
"""

import random
from typing import NamedTuple

_FIRST_NAMES = """
Ann Bob Carol Dave Erin Frank Grace Heidi Ivan Judy Karl Lena Mia Noah Olga Paul Quinn Rosa Sven Tara Ulf
Vera Walt Xenia Yuri Zoe Amir Bea Chen Dora Emil Fatma Gus Hana Igor Jonas Kiri Luis Mona Nils
"""

_LAST_NAMES = """
Lee Kim Brown Silva Meyer Novak Rossi Khan Olsen Dubois Garcia Ito Jansen Kowalski Lopez Martin Nagy Okafor
Patel Quist Ricci Sato Taylor Unger Vogel Wang Young Ziegler Adams Becker Costa Dahl Evans Fischer Green Huber
"""

#: Domains with the share of the customers, in per cent.
_DOMAINS = {
    "gmail.example": 41,
    "outlook.example": 17,
    "yahoo.example": 11,
    "icloud.example": 8,
    "web.example": 6,
    "mail.example": 5,
    "firm-one.example": 4,
    "firm-two.example": 3,
    "university.example": 3,
    "old-provider.example": 2,
}


class Customer(NamedTuple):
    name: str
    address: str


#: The customers in the mails of the last hour, which `fill` plans one by one.
ANN = Customer("Ann Lee", "ann.lee@gmail.example")
BOB = Customer("Bob Kim", "bob.kim@old-provider.example")
CAROL = Customer("Carol Brown", "carol.brown@outlook.example")
DAVE = Customer("Dave Silva", "dave.silva@web.example")
ERIN = Customer("Erin Meyer", "erin.meyer@icloud.example")
FRANK = Customer("Frank Novak", "frank.novak@yahoo.example")


def make_customers(rng: random.Random, count: int) -> list[Customer]:
    """Different customers."""
    domains = rng.choices(list(_DOMAINS), list(_DOMAINS.values()), k=count)
    first_names, last_names = _FIRST_NAMES.split(), _LAST_NAMES.split()
    customers = []
    for number, domain in enumerate(domains):
        first, last = rng.choice(first_names), rng.choice(last_names)
        customers.append(Customer(f"{first} {last}", f"{first}.{last}{number}@{domain}".lower()))
    return customers
