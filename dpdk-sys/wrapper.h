/* The input of bindgen: DPDK's headers, the shim's functions, and constants for what bindgen cannot
 * read (macros that call macros, and the layout of struct rte_mbuf).
 *
 * struct rte_mbuf is opaque to Rust. Its fields are found by the offsets below, because DPDK moves
 * them in and out of anonymous structs and unions from one release to the next. */

#ifndef GUIDEWAY_WRAPPER_H
#define GUIDEWAY_WRAPPER_H

#include <stddef.h>
#include <stdint.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_interrupts.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_memzone.h>
#include <rte_ring.h>
#include <rte_version.h>

/* Offsets of the mbuf fields that the packet path reads and writes. */
enum guideway_mbuf_offset {
	GUIDEWAY_MBUF_BUF_ADDR = offsetof(struct rte_mbuf, buf_addr),
	GUIDEWAY_MBUF_DATA_OFF = offsetof(struct rte_mbuf, data_off),
	GUIDEWAY_MBUF_REFCNT = offsetof(struct rte_mbuf, refcnt),
	GUIDEWAY_MBUF_NB_SEGS = offsetof(struct rte_mbuf, nb_segs),
	GUIDEWAY_MBUF_OL_FLAGS = offsetof(struct rte_mbuf, ol_flags),
	GUIDEWAY_MBUF_PKT_LEN = offsetof(struct rte_mbuf, pkt_len),
	GUIDEWAY_MBUF_DATA_LEN = offsetof(struct rte_mbuf, data_len),
	GUIDEWAY_MBUF_RSS = offsetof(struct rte_mbuf, hash.rss),
	GUIDEWAY_MBUF_BUF_LEN = offsetof(struct rte_mbuf, buf_len),
	GUIDEWAY_MBUF_POOL = offsetof(struct rte_mbuf, pool),
	GUIDEWAY_MBUF_PRIV_SIZE = offsetof(struct rte_mbuf, priv_size),
	/* The private area lies behind the struct. */
	GUIDEWAY_MBUF_SIZE = sizeof(struct rte_mbuf),
};

/* Offsets of what the two ends of a ring write, and of the slots. */
enum guideway_ring_offset {
	GUIDEWAY_RING_PRODUCER = offsetof(struct rte_ring, prod),
	GUIDEWAY_RING_CONSUMER = offsetof(struct rte_ring, cons),
	GUIDEWAY_RING_SLOTS = sizeof(struct rte_ring),
};

/* The types that Rust reads at these offsets. */
_Static_assert(sizeof(((struct rte_mbuf *)0)->data_off) == 2, "data_off is read as u16");
_Static_assert(sizeof(((struct rte_mbuf *)0)->refcnt) == 2, "refcnt is read as u16");
_Static_assert(sizeof(((struct rte_mbuf *)0)->nb_segs) == 2, "nb_segs is read as u16");
_Static_assert(offsetof(struct rte_mbuf, nb_segs) == offsetof(struct rte_mbuf, refcnt) + 2,
	       "refcnt and nb_segs are read as one u32");
_Static_assert(sizeof(((struct rte_mbuf *)0)->ol_flags) == 8, "ol_flags is read as u64");
_Static_assert(sizeof(((struct rte_mbuf *)0)->pkt_len) == 4, "pkt_len is read as u32");
_Static_assert(sizeof(((struct rte_mbuf *)0)->data_len) == 2, "data_len is read as u16");
_Static_assert(sizeof(((struct rte_mbuf *)0)->hash.rss) == 4, "hash.rss is read as u32");
_Static_assert(sizeof(((struct rte_mbuf *)0)->buf_len) == 2, "buf_len is read as u16");
_Static_assert(sizeof(((struct rte_mbuf *)0)->priv_size) == 2, "priv_size is read as u16");

static const uint64_t GUIDEWAY_MBUF_F_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
/* The buffer belongs to another mbuf, or to no mbuf. */
static const uint64_t GUIDEWAY_MBUF_F_ATTACHED = RTE_MBUF_F_INDIRECT | RTE_MBUF_F_EXTERNAL;

/* RSS of flows by addresses and ports, and of packets without ports by addresses. */
static const uint64_t GUIDEWAY_RSS_TCP4 = RTE_ETH_RSS_NONFRAG_IPV4_TCP;
static const uint64_t GUIDEWAY_RSS_UDP4 = RTE_ETH_RSS_NONFRAG_IPV4_UDP;
static const uint64_t GUIDEWAY_RSS_SCTP4 = RTE_ETH_RSS_NONFRAG_IPV4_SCTP;
static const uint64_t GUIDEWAY_RSS_FRAGMENT4 = RTE_ETH_RSS_FRAG_IPV4;
static const uint64_t GUIDEWAY_RSS_IPV4 = RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER;
static const uint64_t GUIDEWAY_RSS_TCP6 = RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_IPV6_TCP_EX;
static const uint64_t GUIDEWAY_RSS_UDP6 = RTE_ETH_RSS_NONFRAG_IPV6_UDP | RTE_ETH_RSS_IPV6_UDP_EX;
static const uint64_t GUIDEWAY_RSS_SCTP6 = RTE_ETH_RSS_NONFRAG_IPV6_SCTP;
static const uint64_t GUIDEWAY_RSS_FRAGMENT6 = RTE_ETH_RSS_FRAG_IPV6;
static const uint64_t GUIDEWAY_RSS_IPV6 =
	RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_OTHER | RTE_ETH_RSS_IPV6_EX;
static const uint64_t GUIDEWAY_RX_OFFLOAD_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t GUIDEWAY_TX_OFFLOAD_MBUF_FAST_FREE = RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;

enum guideway_constant {
	GUIDEWAY_MQ_RX_RSS = RTE_ETH_MQ_RX_RSS,
	GUIDEWAY_RETA_GROUP_SIZE = RTE_ETH_RETA_GROUP_SIZE,
	GUIDEWAY_HEADROOM = RTE_PKTMBUF_HEADROOM,
	GUIDEWAY_RING_SPSC = RING_F_SP_ENQ | RING_F_SC_DEQ,
};
static const uint32_t GUIDEWAY_SPEED_UNKNOWN = RTE_ETH_SPEED_NUM_UNKNOWN;

/* The argument of the driver net_bonding that names a member. DPDK has no public macro for it. */
#if RTE_VERSION >= RTE_VERSION_NUM(23, 11, 0, 0)
#define GUIDEWAY_BOND_MEMBER "member"
#else
#define GUIDEWAY_BOND_MEMBER "slave"
#endif

/* The state of a link. DPDK 24.11 moved the fields of rte_eth_link. */
struct guideway_link {
	uint32_t speed_mbps;
	uint8_t up;
	uint8_t full_duplex;
};

/* Rules by which a device tells packets of the network's own protocols from all others. */
enum guideway_control_rule {
	GUIDEWAY_CONTROL_ARP,
	GUIDEWAY_CONTROL_BGP_TO_V4,
	GUIDEWAY_CONTROL_BGP_FROM_V4,
	GUIDEWAY_CONTROL_BFD_V4,
	GUIDEWAY_CONTROL_BFD_MULTIHOP_V4,
	GUIDEWAY_CONTROL_BGP_TO_V6,
	GUIDEWAY_CONTROL_BGP_FROM_V6,
	GUIDEWAY_CONTROL_BFD_V6,
	GUIDEWAY_CONTROL_BFD_MULTIHOP_V6,
	GUIDEWAY_CONTROL_RULES,
};

/* What the consumer of a ring knows: at least so many mbufs wait, and the CPU was asked for the first of them. */
struct guideway_ring_seen {
	uint32_t ready;
	uint32_t fetched;
};

/* shim.c */
int guideway_errno(void);
uint64_t guideway_tsc(void);
uint16_t guideway_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t guideway_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
int guideway_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count);
uint16_t guideway_ring_enqueue(struct rte_ring *ring, struct rte_mbuf **mbufs, const void *notes, size_t note_size,
			       uint16_t count, uint32_t *room);
uint16_t guideway_ring_dequeue(struct rte_ring *ring, struct rte_mbuf **mbufs, void *notes, size_t note_size,
			       uint16_t count, struct guideway_ring_seen *seen, uint32_t frame);
unsigned int guideway_ring_free_count(const struct rte_ring *ring);
unsigned int guideway_ring_count(const struct rte_ring *ring);
int guideway_rx_interrupt(uint16_t port, uint16_t queue, int add);
int guideway_wait(int milliseconds);
struct rte_epoll_event *guideway_wake_add(int fd);
void guideway_wake_remove(int fd, struct rte_epoll_event *event);
int guideway_control_queue(uint16_t port, uint16_t queue, uint32_t rule, int create);
int guideway_link_get(uint16_t port, struct guideway_link *link);
int guideway_link_interrupt(uint16_t port);
int guideway_link_watch(uint16_t port, int fd, int watch);
int guideway_start(uint16_t port, int hide_errors);
int guideway_close(uint16_t port, int hide_errors);
struct rte_mempool *guideway_page_pool(const char *name, unsigned int count, unsigned int cache,
				       uint16_t priv, uint16_t room, int socket);
uint32_t guideway_pool_outside(struct rte_mempool *pool);
uint16_t guideway_pool_room(struct rte_mempool *pool);
void guideway_pool_fetch(struct rte_mempool *pool, uint32_t count);
void *guideway_pool_cache(struct rte_mempool *pool, unsigned int lcore, uint32_t *length);

#endif
