//! Network configuration for systemd-networkd (systemd.network(5)).

use crate::spec::resolved::{Dhcp, Interface};

/// The text of one `.network` file.
pub fn network_file(interface: &Interface) -> String {
    let mut text = String::from("[Match]\n");
    let mut line = |name: &str, value: String| text.push_str(&format!("{name}={value}\n"));
    if let Some(name) = &interface.match_name {
        line("Name", name.clone());
    }
    if let Some(mac) = &interface.match_mac {
        line("MACAddress", mac.to_string());
    }
    if let Some(mtu) = interface.mtu {
        text.push_str(&format!("\n[Link]\nMTUBytes={mtu}\n"));
    }
    text.push_str("\n[Network]\n");
    let mut line = |name: &str, value: String| text.push_str(&format!("{name}={value}\n"));
    let dhcp = match interface.dhcp {
        Dhcp::No => "no",
        Dhcp::Ipv4 => "ipv4",
        Dhcp::Ipv6 => "ipv6",
        Dhcp::Yes => "yes",
    };
    line("DHCP", dhcp.into());
    for address in &interface.addresses {
        line("Address", address.to_string());
    }
    for gateway in &interface.gateways {
        line("Gateway", gateway.to_string());
    }
    for server in &interface.dns {
        line("DNS", server.to_string());
    }
    if !interface.domains.is_empty() {
        let domains: Vec<String> = interface.domains.iter().map(ToString::to_string).collect();
        line("Domains", domains.join(" "));
    }
    if interface.dhcp != Dhcp::No {
        // The machine's address is its hardware's, not a clone's identifier: images are copied.
        text.push_str("\n[DHCPv4]\nSendRelease=false\nClientIdentifier=mac\n");
    }
    text
}
